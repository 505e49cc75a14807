"""`revetl status` and `revetl rejections`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options


@click.command("status")
@output_options
@project_options
def status_command(output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """The last run of every sync, and what its destination holds."""
    out = Output(output, quiet, no_color)
    rows = open_project(out, **options).status()
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("No sync has run yet. `revetl sync audience NAME` runs one.")
    else:
        columns = (
            "sync",
            "status",
            "finished_at",
            "held",
            "added",
            "updated",
            "removed",
            "rejections",
            "unsent",
        )
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
        for row in rows:
            if row["error"]:
                click.echo(row["error"])


@click.command("rejections")
@click.argument("words", nargs=-1, metavar="[audience NAME]")
@click.option("--to", metavar="DESTINATION", help="Only of this destination.")
@output_options
@project_options
def rejections_command(
    words: tuple[str, ...], to: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """The records that destinations refuse, and why."""
    out = Output(output, quiet, no_color)
    if words and (len(words) != 2 or words[0] != "audience"):
        raise click.UsageError(f"'{' '.join(words)}' is not understood. Write: audience NAME.")
    rows = open_project(out, **options).rejections(words[1] if words else None, to=to)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("Nothing is rejected.")
    else:
        columns = ("sync", "key", "operation", "attempts", "last_rejected_at", "reason")
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
