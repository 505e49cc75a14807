"""`revetl destinations`: the types there are, and what one of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, output_options, refuse

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from revetl.destinations.base.destination import Destination


@click.group(
    "destinations", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@output_options
@click.pass_context
def destinations_command(context: click.Context, output: str, quiet: bool, no_color: bool) -> None:
    """List destination types, or show one. Needs no project."""
    if context.invoked_subcommand is not None:
        refuse("output", "quiet", "no_color", because=f"write it after {context.invoked_subcommand}.")
        return
    from revetl.destinations import TYPES

    out = Output(output, quiet, no_color)
    found = [_told(kind) for kind in sorted(TYPES)]
    if out.json:
        out.print_json(found)
        return
    out.print_table(("type", "modes"), [(each["type"], ", ".join(each["modes"])) for each in found])
    out.say("Limits, identifiers and settings of one: revetl destinations show TYPE")


@destinations_command.command("list", short_help="List destination types.")
@output_options
@click.pass_context
def list_command(context: click.Context, output: str, quiet: bool, no_color: bool) -> None:
    """List destination types and their modes, as `revetl destinations` does."""
    assert context.parent is not None
    context.parent.invoked_subcommand = None
    context.parent.invoke(destinations_command.callback, output=output, quiet=quiet, no_color=no_color)  # type: ignore[arg-type]


@destinations_command.command("show", short_help="Show one destination type.")
@click.argument("kind", metavar="TYPE")
@output_options
def show_command(kind: str, output: str, quiet: bool, no_color: bool) -> None:
    """Show a destination type: modes, limits, identifiers and configuration keys."""
    out = Output(output, quiet, no_color)
    told = _told(kind)
    if out.json:
        out.print_json(told)
        return
    click.echo(f"{told['type']}: {told['description']}\n")
    click.echo(f"modes        {', '.join(told['modes'])}")
    batch = told["batch"]
    limits = [f"{batch['records']:,} records"]
    limits += [
        f"{batch[size]:,} {size.replace('_', ' ')}" for size in ("bytes", "record_bytes") if batch[size]
    ]
    click.echo(f"a request    {', '.join(limits)}")
    click.echo(f"requests     {_pace(told['rate'])}")
    click.echo(f"set_if_empty {'yes' if told['set_if_empty'] else 'no'}")
    click.echo(f"audiences    {'have ids there' if told['audiences'] else 'are fields, or all there is'}")
    click.echo(f"fields       {'any' if told['other_fields'] else 'these only, if any'}")
    titles = {"identifiers": _identifiers(told), "fields": _fields_of(told), "configuration": _keys(told)}
    for title, rows in titles.items():
        if not rows:
            continue
        click.echo(f"\n{title}")
        width = max(len(name) for name, _ in rows)
        for name, words in rows:
            click.echo(f"  {name:<{width}}  {words}".rstrip())


def _identifiers(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            each["name"] or f"({each['named_by']})",
            ("" if each["name"] else f"the name that {each['named_by']} gives, ")
            + f"from {each['column']}"
            + (f", hashed ({each['hashed']})" if each["hashed"] else "")
            + (f", normalized ({each['normalised']})" if each["normalised"] else "")
            + ("" if each["alone"] else ", beside another")
            + "".join(f", with {key}: {value}" for key, value in each["when"].items()),
        )
        for each in told["identifiers"]
    ]


def _fields_of(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (each["name"], f"{each['type']}, from {each['column']}" + (", required" if each["required"] else ""))
        for each in told["fields"]
    ]


def _keys(told: dict[str, Any]) -> list[tuple[str, str]]:
    def words(key: dict[str, Any]) -> str:
        parts = ["required"] if key["required"] else [] if key["default"] is None else [f"{key['default']}"]
        return ", ".join([*parts, *(["secret: name an environment variable"] if key["secret"] else [])])

    return [(key["name"], words(key)) for key in told["configuration"]]


def _pace(rate: dict[str, float] | None) -> str:
    if rate is None:
        return "as it answers"
    return f"{rate['requests']:,g} in {rate['per_seconds']:g} s"


def _told(kind: str) -> dict[str, Any]:
    """A type of destination as data. Raises UsageError with the nearest type there is."""
    from dataclasses import asdict

    from revetl.destinations import destination_class
    from revetl.destinations.base.audiences import HasAudiences

    found = destination_class(kind, "destinations show")
    secrets = found.secret_names()
    return {
        "type": kind,
        "description": " ".join((found.__doc__ or "").split()),
        "modes": list(found.modes()),
        "batch": asdict(found.batch),
        "rate": None if found.rate is None else asdict(found.rate),
        "identifiers": [
            {
                **asdict(each.identifier),
                "name": each.identifier.name or None,
                "when": dict(each.when),
                "named_by": each.named_by,
            }
            for each in found.identifier_choices()
        ],
        "fields": [asdict(each) for each in found.known_fields],
        "other_fields": found.takes_other_fields,
        "audiences": issubclass(found, HasAudiences),
        "set_if_empty": found.can_set_if_empty,
        "configuration": [
            {
                "name": _written(name, field),
                "required": field.is_required(),
                "default": None if field.is_required() else _default(field),
                "secret": name in secrets,
            }
            for name, field in _fields(found)
        ],
    }


def _fields(found: type[Destination]) -> list[tuple[str, FieldInfo]]:
    """The fields of the type's own before those that all have."""
    own = [name for name in found.__annotations__ if name in found.model_fields]
    names = [*own, *(name for name in found.model_fields if name not in own)]
    return [(name, found.model_fields[name]) for name in names if name != "type"]


def _written(name: str, field: FieldInfo) -> str:
    """The name that users write a field by: the first of its aliases."""
    choices = getattr(field.validation_alias, "choices", None)
    return str(choices[0]) if choices else name


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True, validated_data={})
    return value if isinstance(value, str | int | float | bool) else None
