"""`revetl status`, `revetl history` and `revetl rejections`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    open_project,
    output_options,
    project_options,
    selection_options,
)


@click.command("status")
@selection_options(needed=False)
@output_options
@project_options
def status_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Show the last run of every sync, and how many members its destination has.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    # The backlog is known even where the warehouse can't be opened.
    backlog = project.collector_backlog()
    if backlog is not None and backlog.segments:
        out.say(
            f"The collector has {backlog.bytes:,} bytes in {backlog.segments:,} segments to land, the oldest "
            f"since {datetime.fromtimestamp(backlog.oldest or 0, UTC):%Y-%m-%d %H:%M:%S} UTC."
        )
    rows = project.status(**chosen.arguments)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("No sync has run yet. Run `revetl sync NAME`.")
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
@selection_options(needed=False)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Number of runs to show."
)
@output_options
@project_options
def history_command(
    chosen: Selection,
    limit: int,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Show past runs, newest first.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    rows = open_project(out, **options).history(**chosen.arguments, limit=limit)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("No sync has run yet. Run `revetl sync NAME`.")
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
@selection_options(needed=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="Number of records to show.",
)
@output_options
@project_options
def rejections_command(
    chosen: Selection, limit: int, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Show the records that destinations rejected, with the reason.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    rows = open_project(out, **options).rejections(**chosen.arguments, limit=limit)
    if out.json:
        out.print_json(rows)
    elif not rows:
        out.say("Nothing is rejected.")
    else:
        columns = ("sync", "key", "operation", "attempts", "last_rejected_at", "field", "reason")
        out.print_table(columns, [[row[name] for name in columns] for row in rows])
    if len(rows) == limit:
        out.say(f"Only {limit:,} records are shown; --limit shows more.")
