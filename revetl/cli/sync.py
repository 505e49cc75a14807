"""`revetl plan`, `revetl sync` and `revetl retry`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import orjson

from revetl.cli.common import F, Output, open_project, output_options, project_options
from revetl.errors import RevetlError

_SEVERITY = (0, 1, 3, 6, 4, 2, 5, 130)
"""Exit codes from mild to grave: with several syncs, the gravest is the command's."""


def _selection(function: F) -> F:
    options: tuple[Callable[[F], F], ...] = (
        click.argument("words", nargs=-1, metavar="[audience NAME]"),
        click.option("--to", metavar="DESTINATION", help="Only to this destination."),
        click.option("--select", metavar="SELECTION", help="Audiences by name or tag: 'tag:nightly'."),
        click.option("--all", "everything", is_flag=True, help="Every sync of the project."),
        click.option("--full-refresh", is_flag=True, help="Send every member anew."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _name(words: tuple[str, ...], select: str | None, everything: bool) -> str | None:
    """The audience's name of `audience NAME`; None for a selection or all."""
    given = sum((bool(words), select is not None, everything))
    if given != 1:
        raise click.UsageError("Name one of: audience NAME, --select SELECTION, --all.")
    if not words:
        return None
    if len(words) != 2 or words[0] != "audience":
        raise click.UsageError(f"'{' '.join(words)}' is not understood. Write: audience NAME.")
    return words[1]


@click.command("plan")
@_selection
@click.option(
    "--sample", type=click.IntRange(min=0), default=2, show_default=True, help="Records an operation to show."
)
@output_options
@project_options
def plan_command(
    words: tuple[str, ...],
    to: str | None,
    select: str | None,
    everything: bool,
    full_refresh: bool,
    sample: int,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Show what a sync would do, with the exact requests for a few records. Changes nothing."""
    out = Output(output, quiet, no_color)
    name = _name(words, select, everything)
    _show_plans(
        out,
        open_project(out, **options).plan(
            name, to=to, select=select, full_refresh=full_refresh, sample=sample
        ),
    )


@click.command("sync")
@_selection
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--force", multiple=True, metavar="GUARD", help="Go on although this guard would stop it.")
@output_options
@project_options
def sync_command(
    words: tuple[str, ...],
    to: str | None,
    select: str | None,
    everything: bool,
    full_refresh: bool,
    dry_run: bool,
    force: tuple[str, ...],
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Make destinations hold what the audiences hold: send what was added, updated and removed."""
    out = Output(output, quiet, no_color)
    name = _name(words, select, everything)
    project = open_project(out, **options)
    if dry_run:
        _show_plans(out, project.plan(name, to=to, select=select, full_refresh=full_refresh))
        return 0
    return _run(out, project, {"name": name, "to": to, "select": select}, full_refresh, False, force)


@click.command("retry")
@click.argument("words", nargs=-1, metavar="audience NAME")
@click.option("--to", metavar="DESTINATION", help="Only to this destination.")
@output_options
@project_options
def retry_command(
    words: tuple[str, ...], to: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> int:
    """Sync, and send again what a destination rejected before."""
    out = Output(output, quiet, no_color)
    name = _name(words, None, False)
    return _run(out, open_project(out, **options), {"name": name, "to": to}, False, True, ())


def _run(
    out: Output,
    project: Any,
    selection: dict[str, Any],
    full_refresh: bool,
    retry: bool,
    force: tuple[str, ...],
) -> int:
    """Run the selected syncs, one failing not keeping the others from running."""
    from stamina.instrumentation import set_on_retry_hooks

    from revetl.sync.run import SyncOptions

    # A retry is no news; what it ends in is.
    set_on_retry_hooks(())
    options = SyncOptions(full_refresh=full_refresh, retry=retry, force=force)
    runs, codes = [], [0]
    for sync in project.select(selection["name"], to=selection["to"], select=selection.get("select")):
        try:
            with _progress(out, sync.name) as progress:
                run = project.run(sync, options, progress)
        except RevetlError as error:
            click.echo(f"Error: {error}", err=True)
            codes.append(error.exit_code)
            continue
        runs.append(run)
        codes.append(run.exit_code)
        if run.error:
            click.echo(f"Error: {run.error}", err=True)
        if not out.json:
            _show_run(out, run)
    if out.json:
        out.print_json([{**_fields(run), "unsent": run.unsent, "seconds": run.seconds} for run in runs])
    return max(codes, key=_SEVERITY.index)


def _fields(value: object) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(value)  # type: ignore[call-overload, no-any-return]


def _show_run(out: Output, run: Any) -> None:
    done, planned = run.delivered, run.planned
    parts = [f"{done[name]:,} {word}" for name, word in _WORDS.items() if planned.get(name)]
    parts += [
        f"{count:,} {word}" for count, word in ((run.rejected, "rejected"), (run.unsent, "not sent")) if count
    ]
    line = f"{run.sync}: {run.status}: {', '.join(parts) or 'nothing changed'} ({run.seconds:.1f} s)"
    click.echo(line)
    if run.recovered:
        out.say(
            f"{run.recovered:,} records of a run that was cut short had no answer; they were planned again."
        )
    if run.rejected:
        audience, _, destination = run.sync.rpartition(".")
        out.say(f"See why: revetl rejections audience {audience} --to {destination}")


_WORDS = {"add": "added", "update": "updated", "remove": "removed"}


def _show_plans(out: Output, plans: list[Any]) -> None:
    if out.json:
        out.print_json([{**_fields(plan), "changes": plan.changes} for plan in plans])
        return
    for plan in plans:
        click.echo(
            f"{plan.sync} ({plan.mode}): add {plan.add:,}, update {plan.update:,}, remove {plan.remove:,}; "
            f"{plan.audience_rows:,} in the audience, {plan.held_rows:,} held"
        )
        if plan.kept:
            click.echo(f"  {plan.kept:,} who left are not removed: another member has their identifier")
        if plan.rejected:
            click.echo(
                f"  {plan.rejected:,} wait, rejected before and unchanged since (revetl retry sends them)"
            )
        for stop in plan.stops:
            click.echo(f"  guard {stop.guard} would stop it: {stop.message}")
        for request in plan.requests:
            click.echo(f"\n  {request.operation}: {request.method} {request.url}")
            for name, value in request.headers.items():
                click.echo(f"    {name}: {value}")
            body = request.body
            text = body if isinstance(body, str) else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
            click.echo("\n".join(f"    {line}" for line in text.splitlines()))


class _progress:  # noqa: N801  used as a function
    """A progress bar on a terminal, nothing elsewhere; an object of `revetl.sync.run.Progress` to use."""

    def __init__(self, out: Output, name: str) -> None:
        self._shown = not out.quiet and not out.json and sys.stderr.isatty()
        self._out, self._name = out, name

    def __enter__(self) -> Any:
        from revetl.sync.run import Progress

        if not self._shown:
            return Progress()
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self._out.console(err=True), transient=True)
        task = self._bar.add_task(self._name, total=None)
        self._bar.start()
        return Progress(
            on_plan=lambda plan: self._bar.update(task, total=plan.changes),
            on_records=lambda count: self._bar.advance(task, count),
        )

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()
