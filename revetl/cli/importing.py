"""`revetl import`: what was set up in another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options


@click.command("import", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tool", type=click.Choice(["hightouch", "census"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--write", "writes", is_flag=True, help="Write the files; by default they are only listed.")
@click.option("--strict", is_flag=True, help="Exit 1 when something could not be imported.")
@output_options
@project_options
def import_command(
    tool: str,
    folder: Path,
    writes: bool,
    strict: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Convert the models and syncs in DIR to audiences.

    DIR has the files of Hightouch's Git Sync, or saved responses of Census's API. Prints the files, and the
    destinations for revetl.yml. What could not be imported is listed on stderr by file and key.
    """
    from revetl.importers import import_export

    out = Output(output, quiet, no_color)
    made = import_export(open_project(out, **options).workspace, tool, folder, writes=writes)
    if out.json:
        out.print_json(
            {
                "files": {str(file): text for file, text in made.files.items()},
                "destinations": made.destinations,
                "not_carried_over": [
                    {"file": note.file, "key": note.key, "why": note.why} for note in made.notes
                ],
                "written": writes,
            }
        )
    else:
        for file in made.files:
            click.echo(str(file))
        if made.destinations and not made.has_revetl_yml:
            click.echo(f"\n# Put this into revetl.yml.\n{made.revetl_yml}", nl=False)
    for note in made.notes:
        click.echo(str(note), err=True)
    if not writes:
        out.say("Nothing is written; --write does.")
    return 1 if strict and made.notes else 0
