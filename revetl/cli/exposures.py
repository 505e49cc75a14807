"""`revetl exposures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    dbt_options,
    open_project,
    output_options,
    selection_options,
)


@click.command("exposures")
@selection_options(needed=False)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="File to write, relative to the project; the default is models/revetl_exposures.yml.",
)
@click.option(
    "--owner",
    metavar="'NAME <EMAIL>'",
    envvar="REVETL_OWNER",
    help="Owner of exposures whose model has no meta.owner; the environment variable is REVETL_OWNER.",
)
@click.option("--check", is_flag=True, help="Write nothing, and exit 1 when the file is out of date.")
@output_options
@dbt_options
def exposures_command(
    chosen: Selection,
    file: Path | None,
    owner: str | None,
    check: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Write syncs as dbt exposures, so that destinations are in dbt's lineage graph.

    NAME is an audience, or audience.destination. The file has exactly the selected syncs.
    """
    from revetl.project.exposures import ExposuresFile

    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    syncs = project.select_syncs(chosen.names, to=chosen.to, **chosen.by_dbt)
    exposures = ExposuresFile(project.workspace, file, owner, syncs)
    difference = exposures.difference()
    if not check:
        exposures.write()
    if out.json:
        found = {"added": (), "changed": (), "removed": ()} if difference is None else vars(difference)
        out.print_json({"file": str(exposures.shown), "same": difference is None, **found})
    elif difference is None:
        out.say(f"{exposures.shown} is up to date.")
    elif not check:
        out.say(f"{exposures.shown} is written. {difference}")
    if check and difference is not None:
        click.echo(
            f"Error: {exposures.shown} is out of date. {str(difference) or 'Its layout differs'}. "
            "Run `revetl exposures`.",
            err=True,
        )
        return 1
    return 0
