"""`revetl status`, `revetl history` and `revetl rejections`."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
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
from revetl.observability.text import counted


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


_NAMED_DAYS = {"today": 0, "yesterday": 1}
_UNITS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}


def moment(text: str) -> datetime:
    """The moment in UTC that `--since` names: a day by its word, an age, or a date with or without a time.
    Raises UsageError for anything else."""
    now = datetime.now(UTC).replace(tzinfo=None)
    word = text.strip().lower()
    if word in _NAMED_DAYS:
        return datetime.combine(now.date() - timedelta(days=_NAMED_DAYS[word]), time())
    number, _, unit = word.removesuffix(" ago").partition(" ")
    seconds = _UNITS.get(unit.strip().removesuffix("s"))
    try:
        if seconds is not None:
            return (now - timedelta(seconds=float(number) * seconds)).replace(microsecond=0)
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"--since '{text}' is not a time. Write yesterday, '7 days', 2026-01-31 or '2026-01-31 12:00'."
        ) from None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


@click.command("history")
@selection_options(needed=False)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Number of runs to show."
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Only runs since then: yesterday, '7 days', or a date such as 2026-01-31 (UTC).",
)
@click.option("--failed", is_flag=True, help="Only runs that did not deliver everything, with reasons.")
@output_options
@project_options
def history_command(
    chosen: Selection,
    limit: int,
    since: str | None,
    failed: bool,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Show past runs, newest first.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    begin = None if since is None else moment(since)
    project = open_project(out, **options)
    rows = project.history(**chosen.arguments, limit=limit, since=begin, failed=failed)
    if out.json:
        out.print_json(rows)
    elif not rows and (since is not None or failed):
        out.say(f"No run{' failed' if failed else ''}{f' since {begin} UTC' if begin else ''}.")
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
        for row in rows if failed else ():
            click.echo(f"\n{row['sync']}, run {row['run_id']}: {row['status']}")
            if row["error"]:
                click.echo(f"  {row['error']}")
            for reason, count in row["reasons"].items():
                click.echo(f"  {counted(count, 'record')} rejected: {reason}")


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
