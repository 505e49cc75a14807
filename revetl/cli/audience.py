"""`revetl audience`: import, overlap, preview and matched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    open_project,
    output_options,
    project_options,
    selection_options,
)

if TYPE_CHECKING:
    from revetl.api import Project
    from revetl.inspect.audience_preview import AudiencePreview

SAMPLE = 5


@click.group("audience", context_settings={"help_option_names": ["-h", "--help"]})
def audience_command() -> None:
    """Import, preview and compare audiences."""


@audience_command.command("import", short_help="Import an audience from SQL.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", required=True, help="Name of the audience.")
@click.option("--dialect", help="SQL dialect, such as snowflake; the default is the target's.")
@click.option("--key", default="user_id", show_default=True, help="Column that identifies a person.")
@click.option("--folder", default="models/audiences", show_default=True, help="Folder of the model.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
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
    """Convert the SELECT in FILE, from Segment's audiences or SQL traits, to a model. `-` is stdin.

    Tables become refs, ids become people, and JSON and date functions become portable. SQL that cannot be
    converted is an error with its line, and nothing is written.
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


@audience_command.command("overlap", short_help="Compare audiences pair by pair.")
@selection_options("Every audience of the project.", many=True)
@output_options
@project_options
def overlap_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Count the people that audiences have in common, pair by pair, as last built."""
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    found = project.overlap(*_names(project, chosen))
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


@audience_command.command("preview", short_help="Preview an audience from its SQL.")
@selection_options()
@click.option(
    "--sample", type=click.IntRange(min=0), default=SAMPLE, show_default=True, help="Number of rows to show."
)
@output_options
@project_options
def preview_command(
    chosen: Selection, sample: int, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Show who would be in an audience by the SQL on disk.

    Builds nothing and changes nothing. With -o json, NAME is an object, and a selection is a list.
    """
    from revetl.inspect.audience_preview import preview_audience

    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    found = [preview_audience(project.workspace, name, sample=sample) for name in _names(project, chosen)]
    if out.json:
        documents = [asdict(each) for each in found]
        out.print_json(documents[0] if chosen.name is not None else documents)
        return
    for index, each in enumerate(found):
        if index:
            click.echo()
        _print_preview(out, each)


@audience_command.command("matched", short_help="Show match rates of ad platforms.")
@selection_options()
@output_options
@project_options
def matched_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Show the match rate that ad platforms report for an audience.

    NAME is an audience, or audience.destination.
    """
    from revetl.inspect.match_rates import match_rates

    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    found = [
        rate
        for audience, to in project.audiences_to(chosen.names, to=chosen.to, **chosen.by_dbt)
        for rate in match_rates(project.workspace, audience.name, to=to)
    ]
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


def _names(project: Project, chosen: Selection) -> list[str]:
    """The names of the chosen audiences, in the order that they were given in."""
    if chosen.names and chosen.to is not None:
        raise click.UsageError(
            "--to would do nothing: an audience's people are the same at each destination."
        )
    found = project.select_audiences(chosen.names, to=chosen.to, **chosen.by_dbt)
    return [audience.name for audience, _ in found]


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
