"""`revetl audience`: import, overlap, preview and matched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options

if TYPE_CHECKING:
    from revetl.inspect.audience_preview import AudiencePreview

SAMPLE = 5


@click.group("audience", context_settings={"help_option_names": ["-h", "--help"]})
def audience_command() -> None:
    """Audiences: bring one from SQL that you have, compare some, look at one before it is built."""


@audience_command.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", required=True, help="What the audience is to be called.")
@click.option("--dialect", help="What the SQL is written in, such as snowflake; the target's without it.")
@click.option("--key", default="user_id", show_default=True, help="The column that names a person.")
@click.option("--folder", default="models/audiences", show_default=True, help="Where the model goes.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@output_options
@project_options
def import_command(
    file: Path,
    name: str,
    dialect: str | None,
    key: str,
    folder: str,
    force: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Write the SELECT in FILE, as Segment's audiences and SQL traits have it, as a model. `-` is stdin.

    Its tables become refs, its ids people, its JSON and its dates what every warehouse understands. What
    cannot be translated is told with its line, and nothing is written.
    """
    from revetl.importers.segment_sql.importing import import_audience

    out = Output(output, quiet, no_color)
    workspace = open_project(out, **options).workspace
    made = import_audience(workspace, file, name, dialect=dialect, key=key, folder=folder, force=force)
    if out.json:
        out.print_json({"name": made.name, "model": str(made.model), "yaml": str(made.yaml)})
        return
    click.echo(f"{made.model}\n{made.yaml}")
    out.say(f"Next: revetl audience preview {name}, and dbt build --select +{name}")


@audience_command.command("overlap")
@click.argument("names", metavar="AUDIENCE AUDIENCE...", nargs=-1, required=True)
@output_options
@project_options
def overlap_command(names: tuple[str, ...], output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """How many people audiences have in common, two by two, as they were last built."""
    out = Output(output, quiet, no_color)
    found = open_project(out, **options).overlap(*names)
    if out.json:
        out.print_json(found)
        return
    out.print_table(("audience", "members"), [(each.audience, each.members) for each in found.audiences])
    click.echo()
    out.print_table(
        (
            "first",
            "second",
            "matched on",
            "both",
            "only first",
            "only second",
            "of first",
            "of second",
            "jaccard",
        ),
        [
            (
                each.first,
                each.second,
                each.matched_on,
                each.both,
                each.only_first,
                each.only_second,
                _percent(each.share_of_first),
                _percent(each.share_of_second),
                "" if each.jaccard is None else f"{each.jaccard:.3f}",
            )
            for each in found.pairs
        ],
    )


@audience_command.command("preview")
@click.argument("name", metavar="AUDIENCE")
@click.option(
    "--sample", type=click.IntRange(min=0), default=SAMPLE, show_default=True, help="How many rows to show."
)
@output_options
@project_options
def preview_command(name: str, sample: int, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Who would be in AUDIENCE by its SQL as it is on disk. Builds nothing, changes nothing."""
    from revetl.inspect.audience_preview import preview_audience

    out = Output(output, quiet, no_color)
    found = preview_audience(open_project(out, **options).workspace, name, sample=sample)
    if out.json:
        out.print_json(asdict(found))
        return
    _print_preview(out, found)


@audience_command.command("matched")
@click.argument("name", metavar="AUDIENCE")
@output_options
@project_options
def matched_command(name: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """How many of AUDIENCE's people its ad platforms have found, as they say, and whether that is enough."""
    from revetl.inspect.match_rates import match_rates

    out = Output(output, quiet, no_color)
    found = match_rates(open_project(out, **options).workspace, name)
    if out.json:
        out.print_json([{**asdict(each), "share": each.share, "usable": each.is_usable} for each in found])
        return
    words = {None: "", True: "yes", False: "too few"}
    out.print_table(
        ("sync", "held", "at least", "at most", "share", "smallest", "usable"),
        [
            (
                each.sync,
                each.held,
                each.at_least,
                each.at_most,
                _percent(each.share),
                each.smallest,
                words[each.is_usable],
            )
            for each in found
        ],
    )


def _print_preview(out: Output, found: AudiencePreview) -> None:
    counts = [
        ("rows", found.rows),
        ("members", found.members),
        (f"without {found.key}", found.null_keys),
        (f"rows of a {found.key} that is there already", found.duplicate_keys),
    ]
    if found.members_built is not None:
        counts += [
            ("members as built", found.members_built),
            ("would enter", found.would_enter or 0),
            ("would leave", found.would_leave or 0),
        ]
    out.print_table((found.audience, ""), counts)
    if found.members_built is None:
        click.echo("\nIt is not built yet, so there is nothing to compare with.")
    if found.coverage is not None:
        click.echo("\nWho has an identifier:\n")
        out.print_table(
            ("identifier", "members", "share"),
            [(each.identifier_type, each.members, _percent(each.share)) for each in found.coverage],
        )
    if found.sample:
        click.echo("\nSuch as:\n")
        out.print_table(tuple(found.sample[0]), [tuple(row.values()) for row in found.sample])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
