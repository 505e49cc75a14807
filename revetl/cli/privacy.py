"""`revetl privacy`: request, run, list and show."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, log_options, open_project, output_options, project_options
from revetl.errors import UsageError
from revetl.observability.text import counted

if TYPE_CHECKING:
    from revetl.privacy.requests import GivenIdentifier, PrivacyRequest
    from revetl.privacy.store import RequestBatch

_TYPES = {
    "delete": ("DELETE_ONLY", "Erase the people; new data of them is accepted."),
    "suppress": ("SUPPRESS_ONLY", "Send nothing about the people to any destination; erase nothing."),
    "suppress_with_delete": ("SUPPRESS_WITH_DELETE", "Erase the people, and whatever arrives later."),
    "delete_internal": ("DELETE_INTERNAL", "Erase the people in the warehouse only."),
    "suppress_with_delete_internal": (
        "SUPPRESS_WITH_DELETE_INTERNAL",
        "Erase the people in the warehouse only, and whatever arrives later.",
    ),
    "unsuppress": ("UNSUPPRESS", "Lift the suppression of the people."),
}
_SHOWN = 20


@click.group("privacy", context_settings={"help_option_names": ["-h", "--help"]})
def privacy_command() -> None:
    """Erase and suppress people, in the warehouse and at destinations."""


def _type_options(function: Any) -> Any:
    for name, (_, text) in reversed(_TYPES.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=text)(function)
    return function


@privacy_command.command("request", short_help="Request that people are erased or suppressed.")
@click.argument("identifiers", metavar="[IDENTIFIER]...", nargs=-1)
@_type_options
@click.option("--type", "kind", metavar="TYPE", help="Type of the identifiers, such as email.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with a header: a column per identifier type, such as user_id or email.",
)
@click.option("--table", "relation", metavar="MODEL", help="dbt model or source with such columns.")
@click.option("--follow", is_flag=True, help="Include everybody who shares an identifier with the people.")
@click.option("--requested-by", metavar="NAME", help="Who makes the request; defaults to the user's name.")
@click.option("--reason", metavar="TEXT", help="Reason to record.")
@click.option("--dry-run", is_flag=True, help="Show the identifiers and places, and store nothing.")
@output_options
@project_options
def request_command(
    identifiers: tuple[str, ...],
    kind: str | None,
    file: Path | None,
    relation: str | None,
    follow: bool,
    requested_by: str | None,
    reason: str | None,
    dry_run: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Request that people are erased or suppressed. They are suppressed at once; `revetl privacy run` erases.

    IDENTIFIER is a value such as an email, TYPE:VALUE, or a canonical id.
    """
    from revetl.privacy.requests import GivenIdentifier
    from revetl.privacy.store import RequestOptions, make_requests

    chosen = [regulation for name, (regulation, _) in _TYPES.items() if options.pop(name)]
    if len(chosen) != 1:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in _TYPES)
        raise click.UsageError(f"Use exactly one of: {names}.")
    if kind is not None and not identifiers:
        raise click.UsageError("--type is for identifiers on the command line. Leave it out.")
    out = Output(output, quiet, no_color)
    workspace = open_project(out, **options).workspace
    given: list[GivenIdentifier] = [GivenIdentifier(value, kind) for value in identifiers]
    if file is not None:
        given += _of_file(file)
    if relation is not None:
        given += _of_relation(workspace, relation)
    privacy = workspace.config.privacy
    asked = RequestOptions(
        chosen[0],
        requested_by or os.environ.get("USER"),
        reason,
        follow,
        timedelta(days=privacy.deadline_days),
        privacy.phone_region,
    )
    batch = make_requests(workspace, given, asked, dry_run=dry_run)
    if out.json:
        out.print_json(asdict(batch))
    else:
        _print_batch(out, batch)
    return 1 if batch.invalid else 0


@privacy_command.command("run", short_help="Erase the people of open requests.")
@click.option("--no-build", is_flag=True, help="Leave the models to the next dbt build.")
@log_options
@output_options
@project_options
def run_command(no_build: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Continue all open requests: at destinations, in the warehouse, and in the models, by a build.

    What fails stays open and is continued by the next run. Messages of erased and suppressed people that have
    arrived since are erased, too.
    """
    from revetl.privacy.run import run_requests

    out = Output(output, quiet, no_color)
    done = run_requests(open_project(out, **options).workspace, build=not no_build, say=out.say)
    if out.json:
        out.print_json({**asdict(done), "exit_code": done.exit_code})
        return done.exit_code
    for place, why in done.errors.items():
        out.say(f"{place}: {why}")
    late = f" {counted(done.late_messages, 'late message')} erased." if done.late_messages else ""
    click.echo(f"{counted(done.finished, 'request')} finished, {done.open:,} open.{late}")
    return done.exit_code


@privacy_command.command("list", short_help="List requests.")
@click.option("--open", "open_only", is_flag=True, help="Only requests that aren't finished.")
@click.option("--batch", metavar="ID", help="Only requests that were made together.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most requests.")
@output_options
@project_options
def list_command(
    open_only: bool,
    batch: str | None,
    limit: int,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """List privacy requests, the newest first."""
    from revetl.privacy.store import list_requests

    out = Output(output, quiet, no_color)
    found = list_requests(
        open_project(out, **options).workspace, open_only=open_only, batch_id=batch, limit=limit
    )
    if out.json:
        out.print_json(found)
        return
    if not found:
        out.say("There are no privacy requests.")
        return
    out.print_table(
        ("request", "type", "status", "requested", "due", "finished"),
        [
            (
                each.request_id,
                each.regulation_type,
                each.status,
                each.requested_at,
                each.due_at,
                each.finished_at,
            )
            for each in found
        ],
    )


@privacy_command.command("show", short_help="Show a request and its places.")
@click.argument("request_id", metavar="REQUEST")
@output_options
@project_options
def show_command(request_id: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Show a request: its identifiers until it is finished, and its status in every place."""
    from revetl.privacy.store import show_request

    out = Output(output, quiet, no_color)
    found = show_request(open_project(out, **options).workspace, request_id)
    if out.json:
        out.print_json(found)
        return
    _print_request(out, found)


def _print_batch(out: Output, batch: RequestBatch) -> None:
    for each in batch.requests[:_SHOWN]:
        click.echo(f"{each.request_id}   {each.regulation_type}   {each.status}")
        if each.detail:
            click.echo(f"  {each.detail}")
        for line in _identifier_lines(each):
            click.echo(f"  {line}")
    if len(batch.requests) > _SHOWN or batch.valid + batch.invalid > _SHOWN:
        click.echo(f"… and {batch.valid + batch.invalid - _SHOWN:,} more requests")
    if batch.places and batch.valid:
        click.echo()
        out.print_table(("place", "what happens"), [(each.name, each.detail) for each in batch.places])
    click.echo()
    invalid = f", {batch.invalid:,} invalid" if batch.invalid else ""
    if batch.dry_run:
        click.echo(f"{counted(batch.valid, 'request')}{invalid}. Nothing was stored.")
    elif batch.places and batch.valid:
        click.echo(f"{counted(batch.valid, 'request')}{invalid}. Run `revetl privacy run`.")
    else:
        click.echo(f"{counted(batch.valid, 'request')}{invalid}.")


def _print_request(out: Output, each: PrivacyRequest) -> None:
    rows: list[tuple[str, object]] = [
        ("request", each.request_id),
        ("type", each.regulation_type),
        ("status", each.status),
        ("detail", each.detail),
        ("requested by", each.requested_by),
        ("reason", each.reason),
        ("requested", each.requested_at),
        ("due", each.due_at),
        ("finished", each.finished_at),
    ]
    for name, value in rows:
        if value is not None:
            text = f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else value
            click.echo(f"{name:14}{text}")
    for line in _identifier_lines(each):
        click.echo(f"  {line}")
    if each.places:
        click.echo()
        out.print_table(
            ("place", "status", "erased", "detail", "finished"),
            [
                (place.place, place.status, place.erased, place.detail, place.finished_at)
                for place in each.places
            ],
        )


def _identifier_lines(request: PrivacyRequest) -> Iterator[str]:
    listed: Sequence[Any] = request.identifiers
    for each in listed[:_SHOWN]:
        note = "   (shared, not followed)" if each.role == "shared" else ""
        note = "   (requested)" if each.role == "requested" else note
        yield f"{each.type}:{each.value}{note}"
    if len(listed) > _SHOWN:
        yield f"… and {len(listed) - _SHOWN:,} more"


def _of_file(path: Path) -> list[GivenIdentifier]:
    """The identifiers of a CSV file: the first value of each row is its request."""
    from revetl.privacy.requests import GivenIdentifier

    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened, strict=True)
            names = [str(name).strip() for name in rows.fieldnames or ()]
            if not names:
                raise UsageError(f"{path}: is empty. Write a header such as user_id,email.")
            rows.fieldnames = names
            found = []
            for row in rows:
                if None in row:
                    raise UsageError(
                        f"{path}, line {rows.line_num}: has more values than the header has columns."
                    )
                values = [(name, row[name]) for name in names if row[name] and row[name].strip()]
                if not values:
                    raise UsageError(f"{path}, line {rows.line_num}: has no identifier.")
                found.append(
                    GivenIdentifier(values[0][1], None if values[0][0] == "identifier" else values[0][0])
                )
            return found
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not a text file in UTF-8.") from None
    except csv.Error as error:
        raise UsageError(f"{path}: is not a valid CSV file: {error}.") from None


def _of_relation(workspace: Any, name: str) -> list[GivenIdentifier]:
    """The identifiers of a dbt model or source: as in a file."""
    from revetl.privacy.requests import GivenIdentifier

    relation, _ = workspace.list_of_people(name, "--table")
    warehouse = workspace.warehouse(read_only=True)
    try:
        if not warehouse.exists(relation):
            raise UsageError(f"--table {name}: is not in the warehouse. Run `dbt build --select {name}`.")
        from sqlglot import exp

        names = list(warehouse.columns(relation))
        found = []
        for batch in warehouse.stream(exp.select("*").from_(relation), 50_000):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                given = [(kind, value) for kind, value in zip(names, row, strict=True) if value is not None]
                if given:
                    kind, value = given[0]
                    typed = None if kind.lower() == "identifier" else kind.lower()
                    found.append(GivenIdentifier(str(value), typed))
        return found
    finally:
        warehouse.close()
