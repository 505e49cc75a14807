"""`revetl exposures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options


@click.command("exposures")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="The file to write, from the project's folder.  [default: models/revetl_exposures.yml]",
)
@click.option(
    "--owner",
    metavar="'NAME <EMAIL>'",
    envvar="REVETL_OWNER",
    help="The owner where a model has no meta.owner; or REVETL_OWNER.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 when the file is not what would be written."
)
@output_options
@project_options
def exposures_command(
    file: Path | None,
    owner: str | None,
    check: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Write every sync as a dbt exposure, so that destinations are in dbt's lineage graph."""
    from revetl.project.exposures import ExposuresFile

    out = Output(output, quiet, no_color)
    exposures = ExposuresFile(open_project(out, **options).workspace, file, owner)
    difference = exposures.difference()
    if not check:
        exposures.write()
    if out.json:
        found = {"added": (), "changed": (), "removed": ()} if difference is None else vars(difference)
        out.print_json({"file": str(exposures.shown), "same": difference is None, **found})
    elif difference is None:
        out.say(f"{exposures.shown} is as the syncs are.")
    elif not check:
        out.say(f"{exposures.shown} is written. {difference}")
    if check and difference is not None:
        click.echo(
            f"Error: {exposures.shown} is not as the syncs are. {str(difference) or 'Its layout differs'}. "
            "Run `revetl exposures`.",
            err=True,
        )
        return 1
    return 0
