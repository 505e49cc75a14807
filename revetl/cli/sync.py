"""`revetl plan`, `revetl sync` and `revetl retry`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli import render
from revetl.cli.common import (
    F,
    Output,
    audience_name,
    check_selection,
    log_options,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.errors import RevetlError, WarehouseError
from revetl.observability import logs

if TYPE_CHECKING:
    from revetl.api import Project
    from revetl.project.workspace import Sync
    from revetl.sync.plan.options import SyncOptions
    from revetl.sync.plan.plan import Plan
    from revetl.sync.run import Runner
    from revetl.sync.state.run_log import Run

_SEVERITY = (0, 1, 3, 6, 4, 2, 5, 70, 130, 143)
"""Exit codes from mild to grave: with several syncs, the gravest is the command's."""


def _selection(function: F) -> F:
    refresh = click.option("--full-refresh", is_flag=True, help="Send every member anew.")
    return selection_options("Every sync of the project.")(refresh(function))


def _chosen(words: tuple[str, ...], everything: bool, **chosen: Any) -> dict[str, Any]:
    """What the project is asked to select: of `audience NAME`, a selection, or all."""
    check_selection(words, everything, select=chosen["select"], exclude=chosen["exclude"])
    return {"name": audience_name(words), **chosen}


@click.command("plan")
@_selection
@click.option(
    "--sample", type=click.IntRange(min=0), default=2, show_default=True, help="Records an operation to show."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the plan in this file.")
@click.option(
    "--compare-target",
    metavar="TARGET",
    help="Compare with what the syncs of this dbt target have delivered.",
)
@click.option("--only", metavar="MEMBER", help="Only this member, by the key or any identifier.")
@output_options
@project_options
def plan_command(
    words: tuple[str, ...],
    everything: bool,
    full_refresh: bool,
    sample: int,
    out: Path | None,
    compare_target: str | None,
    only: str | None,
    to: str | None,
    select: str | None,
    exclude: str | None,
    state: Path | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Show what a sync would do, with the exact requests for a few records. Changes nothing."""
    shown = Output(output, quiet, no_color)
    chosen = _chosen(words, everything, to=to, select=select, exclude=exclude, state=state)
    if out is not None and compare_target is not None:
        raise click.UsageError(
            "--out keeps a plan to run, and --compare-target compares with another's state."
        )
    if only is not None and out is not None:
        raise click.UsageError("--out keeps a plan of a whole sync; leave --only out.")
    project = open_project(shown, **options)
    _show_unattended(shown, project)
    plans = project.plan(
        **chosen, full_refresh=full_refresh, sample=sample, compare_target=compare_target, only=only
    )
    _show_plans(shown, plans, compare_target)
    if out is not None:
        from revetl.sync.plan.file import write_plan

        write_plan(out, plans, target=project.workspace.target.name, full_refresh=full_refresh)
        shown.say(f"\nRun just this plan: revetl sync --plan {out}")


@click.command("sync")
@_selection
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--force", multiple=True, metavar="GUARD", help="Go on although this guard would stop it.")
@click.option(
    "--only",
    metavar="MEMBER",
    help="Send only this member, by the key or any identifier, and show what the destination answers.",
)
@click.option("--undo", is_flag=True, help="Take back what the last run of --only did.")
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Run the plan in this file and no other."
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Syncs to run at once."
)
@log_options
@output_options
@project_options
def sync_command(
    words: tuple[str, ...],
    everything: bool,
    full_refresh: bool,
    dry_run: bool,
    force: tuple[str, ...],
    only: str | None,
    undo: bool,
    plan_file: Path | None,
    threads: int,
    to: str | None,
    select: str | None,
    exclude: str | None,
    state: Path | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Make destinations hold what the audiences hold: send what was added, updated and removed."""
    out = Output(output, quiet, no_color)
    if undo and only is None:
        raise click.UsageError("--undo takes back what --only did. Write: --only MEMBER --undo.")
    if undo and (full_refresh or dry_run or force):
        raise click.UsageError("--undo takes neither --full-refresh nor --dry-run nor --force.")
    if only is not None and not words:
        raise click.UsageError("--only is for one audience. Write: revetl sync NAME --only MEMBER.")
    if plan_file is not None:
        if words or everything or full_refresh or any((to, select, exclude, only)):
            raise click.UsageError(
                "--plan runs what the file says; leave the selection and --full-refresh out."
            )
        project = open_project(out, **options)
        return _run(out, project, _planned(project, plan_file, force), threads)
    chosen = _chosen(words, everything, to=to, select=select, exclude=exclude, state=state)
    project = open_project(out, **options)
    if dry_run:
        _show_plans(out, project.plan(**chosen, full_refresh=full_refresh, only=only), None)
        return 0
    from revetl.sync.plan.options import SyncOptions

    asked = SyncOptions(full_refresh=full_refresh, force=force, only=only)
    syncs = project.runnable(project.select(**chosen), named=chosen["name"] is not None)
    if only is not None:
        from revetl.api import undoing

        work = [(sync, project.for_one(sync, asked)) for sync in syncs]
        return _run(out, project, work, threads, kind=undoing() if undo else None)
    code = _run(out, project, [(sync, asked) for sync in syncs], threads)
    if not everything or to is not None or code == WarehouseError.exit_code:
        return code
    # Whoever opts out is taken out of what no run touches, too.
    from revetl.sync.retire import OptOuts

    _show_unattended(out, project)
    work = [(sync, SyncOptions()) for sync in project.runnable(project.opt_outs(), named=False)]
    left = _run(out, project, work, threads, kind=OptOuts, is_more=True)
    return max(code, left, key=_SEVERITY.index)


@click.command("retry")
@click.argument("words", nargs=-1, metavar="audience NAME")
@click.option("--to", metavar="DESTINATION", help="Only to this destination.")
@log_options
@output_options
@project_options
def retry_command(
    words: tuple[str, ...], to: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> int:
    """Sync, and send again what a destination rejected before."""
    from revetl.sync.plan.options import SyncOptions

    out = Output(output, quiet, no_color)
    if not words:
        raise click.UsageError("Write: audience NAME.")
    project = open_project(out, **options)
    asked = SyncOptions(retry=True)
    syncs = project.runnable(project.select(audience_name(words), to=to), named=True)
    return _run(out, project, [(sync, asked) for sync in syncs], 1)


def _planned(project: Project, path: Path, force: tuple[str, ...]) -> list[tuple[Sync, SyncOptions]]:
    from revetl.sync.plan.file import read_plan
    from revetl.sync.plan.options import SyncOptions

    found = read_plan(path, target=project.workspace.target.name)
    return [
        (
            project.sync_named(each.sync),
            SyncOptions(full_refresh=found.full_refresh, force=force, expected=each.digest),
        )
        for each in found.syncs
    ]


def _show_unattended(out: Output, project: Project) -> None:
    """Say which syncs hold people and are touched by no run."""
    # What is wrong with the project or the warehouse is the command's own to say.
    with suppress(RevetlError):
        for each in project.unattended():
            out.say(f"Warning: {each}")


def _run(
    out: Output,
    project: Project,
    work: Sequence[tuple[Sync, SyncOptions]],
    threads: int,
    kind: type[Runner] | None = None,
    is_more: bool = False,
) -> int:
    """Run syncs, one failing not keeping the others from running; gives the gravest exit code."""
    runs: list[Run] = []
    codes = [0]

    def ended(sync: Sync, outcome: Run | RevetlError) -> None:
        codes.append(outcome.exit_code)
        if isinstance(outcome, RevetlError):
            click.echo(logs.redact(f"Error: {outcome}"), err=True)
            return
        runs.append(outcome)
        if outcome.error:
            click.echo(logs.redact(f"Error: {outcome.error}"), err=True)
        if not out.json:
            _show_run(out, outcome)
            if outcome.scope == "one" and outcome.status == "success" and not sum(outcome.planned.values()):
                mode, there = sync.config.mode, project.workspace.destination(sync, placeholders=True)
                again = kind is None and not there.sends_at_most_once(mode)
                more = "; --full-refresh sends it again" if again else ""
                out.say(f"{outcome.sync}: nothing changed for this member{more}.")

    with _Bar(out) as progress:
        project.run_all(work, threads=threads, progress=progress, on_end=ended, kind=kind)
    if out.json and not is_more:
        out.print_json([{**asdict(run), "unsent": run.unsent, "seconds": run.seconds} for run in runs])
    return max(codes, key=_SEVERITY.index)


def _show_run(out: Output, run: Run) -> None:
    if run.invalid_identifiers:
        out.say(f"{run.sync}: invalid identifiers, not sent: {render.numbered(run.invalid_identifiers)}")
    click.echo(render.run_line(run))
    if run.recovered:
        is_held_back = any("unknown outcome" in note for note in run.notes)
        again = "." if is_held_back else "; they were planned again."
        out.say(f"{run.recovered:,} records of a run that was cut short had no answer{again}")
    for answer in run.answers:
        click.echo(f"{answer.method} {answer.url}: {answer.status} {answer.body or '(no body)'}")
    for note in run.notes:
        out.say(f"{run.sync}: {note}")
    for field, count in run.adjusted.items():
        out.say(f"Adjusted for {run.destination}: {field} ({count:,} records)")
    if run.status == "interrupted":
        out.say(f"{run.unsent:,} changes remain; the next run plans them again.")
    if sum(run.rejected.values()):
        out.say(f"See why: revetl rejections audience {run.audience} --to {run.destination}")


def _show_plans(out: Output, plans: Sequence[Plan], compared_with: str | None) -> None:
    if out.json:
        out.print_json([{**asdict(plan), "changes": plan.changes} for plan in plans])
    elif out.markdown:
        click.echo("\n".join(render.plans_markdown(plans, compared_with=compared_with)))
    else:
        for plan in plans:
            click.echo("\n".join(render.plan_text(plan)))


class _Bar:
    """A progress bar on a terminal, nothing elsewhere; gives a `revetl.sync.run.Progress` to use."""

    def __init__(self, out: Output) -> None:
        self._shown = not out.quiet and not out.json and sys.stderr.isatty()
        self._out = out
        self._lock = threading.Lock()
        self._total = 0

    def __enter__(self) -> Any:
        from revetl.sync.run import Progress

        if not self._shown:
            return Progress(on_wait=self._out.say)
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self._out.console(err=True), transient=True)
        self._task = self._bar.add_task("delivering", total=None)
        self._bar.start()
        return Progress(
            on_plan=self._planned,
            on_records=lambda count: self._bar.advance(self._task, count),
            on_wait=lambda said: self._bar.console.print(said, markup=False),
        )

    def _planned(self, plan: Plan) -> None:
        with self._lock:
            self._total += plan.changes
            self._bar.update(self._task, total=self._total, description=plan.sync)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()
