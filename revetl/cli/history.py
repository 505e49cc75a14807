"""`revetl status`, `revetl history` and `revetl rejections`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, audience_name, open_project, output_options, project_options


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
            "unattended",
            "finished_at",
            "held",
            "added",
            "updated",
            "removed",
            "rejections",
            "aborted",
        )
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
        for row in rows:
            if row["error"]:
                click.echo(row["error"])
            for message in row["stops"]:
                click.echo(f"The next run would stop: {message}")


@click.command("history")
@click.argument("words", nargs=-1, metavar="[audience NAME]")
@click.option("--to", metavar="DESTINATION", help="Only of this destination.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many runs, newest first."
)
@output_options
@project_options
def history_command(
    words: tuple[str, ...],
    to: str | None,
    limit: int,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """What each run did, newest first."""
    out = Output(output, quiet, no_color)
    rows = open_project(out, **options).history(audience_name(words), to=to, limit=limit)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("No sync has run yet. `revetl sync audience NAME` runs one.")
    else:
        outcomes = ("planned", "delivered", "rejected", "aborted")
        columns = ("started_at", "sync", "status", *outcomes, "stopped_by", "forced", "run_id")
        for row in rows:
            for outcome in outcomes:
                row[outcome] = "/".join(
                    f"{row[f'{outcome}_{operation}']:,}" for operation in ("add", "update", "remove")
                )
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
        out.say("Counts are add/update/remove.")


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
    rows = open_project(out, **options).rejections(audience_name(words), to=to)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("Nothing is rejected.")
    else:
        columns = ("sync", "key", "operation", "attempts", "last_rejected_at", "field", "reason")
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
