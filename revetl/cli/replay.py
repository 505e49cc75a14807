"""`revetl replay` and `revetl replays`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import (
    Output,
    log_options,
    open_project,
    output_options,
    plan_output_options,
    project_options,
)
from revetl.observability import logs

if TYPE_CHECKING:
    from revetl.sync.replay.plan import ReplayPlan
    from revetl.sync.replay.run import ReplayProgress, ReplayRun
    from revetl.sync.replay.store import Replay


def _words(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in value for word in text.split(",") if word.strip())


@click.command("replay")
@click.option("--to", metavar="DESTINATION", help="The destination, as revetl.yml names it.")
@click.option(
    "--as",
    "types",
    multiple=True,
    metavar="TYPES",
    callback=_words,
    help="Types of messages: track, page, screen, identify, group. The default is track,page,screen.",
)
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only messages of this source.")
@click.option("--from", "since", metavar="TIME", help="Only messages since this date or time, in UTC.")
@click.option(
    "--until", metavar="TIME", help="Only messages before this time, or up to and including this date."
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="PATTERN",
    help="Only events of this name; * matches any text.",
)
@click.option("--where", metavar="SQL", help="Only messages for which this expression is true.")
@click.option("--people", metavar="AUDIENCE", help="Only messages of the members of this audience.")
@click.option(
    "--mapping",
    metavar="AUDIENCE",
    help="Map events as this audience's sync does, or by `default`; required if several syncs map events.",
)
@click.option("--again", is_flag=True, help="Send again what was sent before.")
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Lower the destination's rate limit for this replay.",
)
@click.option("--between", metavar="HOURS", help="Send only in these hours in UTC, such as 01:00-05:00.")
@click.option("--dry-run", is_flag=True, help="Show the plan and send nothing.")
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Number of example requests in a plan.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan to this file and send nothing.",
)
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Run exactly the plan in this file."
)
@log_options
@plan_output_options
@project_options
def replay_command(
    to: str | None,
    types: tuple[str, ...],
    sources: tuple[str, ...],
    since: str | None,
    until: str | None,
    events: tuple[str, ...],
    where: str | None,
    people: str | None,
    mapping: str | None,
    again: bool,
    requests_per_second: float | None,
    between: str | None,
    dry_run: bool,
    sample: int,
    out: Path | None,
    plan_file: Path | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Send the history of events to a destination, in order of time per person.

    The same command resumes a replay that was interrupted.
    """
    shown = Output(output, quiet, no_color)
    asked: dict[str, Any] = {
        "sources": sources,
        "since": since,
        "until": until,
        "events": events,
        "where": where,
        "people": people,
        "mapping": mapping,
    }
    if types:
        asked["types"] = types
    is_plan = dry_run or out is not None
    if plan_file is not None:
        if to is not None or types or is_plan or any(asked.values()):
            raise click.UsageError(
                "--plan runs exactly the plan in the file. Leave --to, the filters, --dry-run and --out out."
            )
    elif to is None:
        raise click.UsageError("--to is missing. Name the destination to replay to.")
    if shown.markdown and not is_plan:
        raise click.UsageError("-o markdown is for plans. Use it with --dry-run, or use -o json.")
    if is_plan and between is not None:
        raise click.UsageError("--between is for a run. Leave it out of the plan.")
    project = open_project(shown, **options)
    if is_plan:
        assert to is not None
        plan = project.plan_replay(
            to, **asked, again=again, sample=sample, requests_per_second=requests_per_second
        )
        _show_plan(shown, plan)
        if out is not None:
            project.write_replay_plan(out, plan)
            shown.say(f"\nRun just this plan: revetl replay --plan {out}")
        return 0
    with _Bar(shown) as progress:
        done = project.replay(
            to,
            **asked,
            plan=plan_file,
            again=again,
            requests_per_second=requests_per_second,
            between=between,
            progress=progress,
        )
    return _show_run(shown, done)


def _show_run(out: Output, done: ReplayRun) -> int:
    run, replay = done.run, done.replay
    if run.error:
        click.echo(logs.redact(f"Error: {run.error}"), err=True)
    if out.json:
        out.print_json({**asdict(run), "seconds": run.seconds, "replay": _row(replay)})
        return run.exit_code
    counts = ", ".join(
        f"{count:,} {name}"
        for name, count in (
            ("delivered", replay.delivered),
            ("rejected", replay.rejected),
            ("left out", replay.left_out),
            ("to send", replay.remaining),
        )
        if count or name == "delivered"
    )
    click.echo(f"{run.sync}: {replay.status}: {counts} of {replay.planned:,} messages ({run.seconds:.1f} s)")
    for note in run.notes:
        out.say(f"{run.sync}: {note}")
    for name, count in run.adjusted.items():
        out.say(f"Adjusted for {run.destination}: {name} ({count:,} records)")
    if replay.remaining and replay.status not in ("canceled", "success", "rejected"):
        out.say(f"Go on with it: revetl replays resume {replay.replay_id}")
    if replay.rejected:
        out.say(f"See why: revetl replays show {replay.replay_id}")
    return run.exit_code


def _show_plan(out: Output, plan: ReplayPlan) -> None:
    if out.json:
        document = {**asdict(plan), "total": plan.total, "to_send": plan.to_send}
        out.print_json(document)
        return
    lines = _plan_lines(plan)
    if out.markdown:
        click.echo(f"### Replay to `{plan.destination}`\n")
        for line in lines[1:]:
            click.echo(f"- {line.strip()}" if line.strip() else "")
        return
    click.echo("\n".join(lines))
    for request in plan.requests:
        click.echo("")
        click.echo(f"{request.method} {request.url}")
        for name, value in request.headers.items():
            click.echo(f"{name}: {value}")
        if isinstance(request.body, str):
            click.echo(request.body)
        elif request.body is not None:
            out.print_json(request.body)


def _plan_lines(plan: ReplayPlan) -> list[str]:
    by_type = ", ".join(f"{count:,} {name}" for name, count in plan.messages.items())
    about = "" if plan.is_exact else "about "
    span = f"{plan.first:%Y-%m-%d} to {plan.last:%Y-%m-%d}" if plan.first and plan.last else ""
    lines = [
        f"replay to {plan.destination} ({plan.type})",
        f"  {plan.total:,} messages of {plan.people:,} people, {span}: {by_type}",
    ]
    for cause, count in plan.left_out.items():
        lines.append(f"  not sent: {count:,} {cause.replace('_', ' ')}")
    for reason, count in plan.refused.items():
        lines.append(f"  refused by its rules: {count:,}: {reason}")
    cost = f"  {about}{plan.request_count:,} requests"
    if plan.minutes is not None:
        cost += f", {about}{plan.minutes:,.1f} minutes at the rate limit"
    if plan.charge is not None:
        cost += f", {about}{plan.charge:,} {plan.charged_in}"
    lines.append(f"{cost}, in {plan.slices:,} slices")
    lines += [f"  note: {note}" for note in plan.notes]
    lines += [f"  STOP ({stop.guard}): {stop.message}" for stop in plan.stops]
    return lines


class _Bar:
    """A progress bar with the time that is left, on a terminal; nothing elsewhere."""

    def __init__(self, out: Output) -> None:
        self._shown = not out.quiet and not out.json and sys.stderr.isatty()
        self._out = out

    def __enter__(self) -> ReplayProgress:
        from revetl.sync.replay.run import ReplayProgress

        if not self._shown:
            return ReplayProgress(on_wait=self._out.say)
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self._out.console(err=True), transient=True)
        task = self._bar.add_task("replaying", total=None)
        self._bar.start()
        return ReplayProgress(
            on_begin=lambda replay: self._bar.update(
                task, total=replay.planned, completed=replay.planned - replay.remaining
            ),
            on_records=lambda count: self._bar.advance(task, count),
            on_wait=lambda said: self._bar.console.print(said, markup=False),
        )

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()


def _row(replay: Replay) -> dict[str, Any]:
    return {**asdict(replay), "remaining": replay.remaining, "eta_seconds": replay.eta_seconds}


@click.group("replays")
def replays_command() -> None:
    """List replays, and pause, resume or cancel them."""


@replays_command.command("list")
@output_options
@project_options
def list_command(output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """List replays, newest first, with progress and time left."""
    out = Output(output, quiet, no_color)
    replays = open_project(out, **options).replays()
    if out.json:
        out.print_json([_row(each) for each in replays])
    elif not replays:
        out.say("No replay has run yet. Run `revetl replay --to NAME`.")
    else:
        _print_table(out, replays)


def _print_table(out: Output, replays: Sequence[Replay]) -> None:
    columns = ("replay", "to", "status", "messages", "delivered", "rejected", "left_out", "remaining", "left")
    out.print_table(
        columns,
        [
            [
                each.replay_id,
                each.destination,
                f"{each.status}, {each.asked} asked" if each.asked else each.status,
                each.planned,
                each.delivered,
                each.rejected,
                each.left_out,
                each.remaining,
                _span(each.eta_seconds),
            ]
            for each in replays
        ],
    )


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if seconds else ""


@replays_command.command("show")
@click.argument("replay_id", metavar="REPLAY")
@output_options
@project_options
def show_command(replay_id: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Show a replay, and why messages were rejected."""
    out = Output(output, quiet, no_color)
    replay, rejections = open_project(out, **options).replay_details(replay_id)
    if out.json:
        out.print_json({**_row(replay), "rejections": rejections})
        return
    _print_table(out, [replay])
    if rejections:
        click.echo("")
        columns = ("reason", "field", "messages", "example_message_id")
        out.print_table(columns, [[row[name] for name in columns] for row in rejections])


@replays_command.command("pause")
@click.argument("replay_id", metavar="REPLAY")
@output_options
@project_options
def pause_command(replay_id: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Pause a running replay; it stops within half a minute."""
    _ask(replay_id, "pause", Output(output, quiet, no_color), options)


@replays_command.command("cancel")
@click.argument("replay_id", metavar="REPLAY")
@output_options
@project_options
def cancel_command(replay_id: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """End a replay for good; what it has sent stays sent."""
    _ask(replay_id, "cancel", Output(output, quiet, no_color), options)


def _ask(replay_id: str, what: str, out: Output, options: dict[str, Any]) -> None:
    replay = open_project(out, **options).ask_replay(replay_id, what)
    if out.json:
        out.print_json(_row(replay))
        return
    is_asked = replay.asked is not None
    said = f"is asked to {what}" if is_asked else f"is {replay.status}"
    click.echo(f"Replay {replay.replay_id} {said}.")


@replays_command.command("resume")
@click.argument("replay_id", metavar="REPLAY")
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Lower the destination's rate limit for this run.",
)
@click.option("--between", metavar="HOURS", help="Send only in these hours in UTC, such as 01:00-05:00.")
@log_options
@output_options
@project_options
def resume_command(
    replay_id: str,
    requests_per_second: float | None,
    between: str | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Go on with a replay that was paused or interrupted."""
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    with _Bar(out) as progress:
        done = project.resume_replay(
            replay_id, requests_per_second=requests_per_second, between=between, progress=progress
        )
    return _show_run(out, done)
