"""`revetl plan`, `revetl sync` and `revetl retry`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli import error_document, render
from revetl.cli.common import (
    Output,
    Selection,
    check_given,
    log_options,
    open_project,
    output_options,
    plan_output_options,
    project_options,
    refuse,
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

SEVERITY = (0, 1, 3, 6, 4, 2, 5, 70, 130, 143)
"""Exit codes from mild to grave: with several syncs, the gravest is the command's."""


_everything = "Every sync of the project."
_refresh = click.option("--full-refresh", is_flag=True, help="Send every member again.")


@click.command("plan")
@selection_options(_everything)
@_refresh
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Number of example records per operation.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan to this file.")
@click.option(
    "--compare-target",
    metavar="TARGET",
    help="Compare with what this dbt target has delivered.",
)
@click.option("--only", metavar="MEMBER", help="Plan only this member, by key or identifier.")
@plan_output_options
@project_options
def plan_command(
    chosen: Selection,
    full_refresh: bool,
    sample: int,
    out: Path | None,
    compare_target: str | None,
    only: str | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Show what a sync would do, with the exact requests for a few records.

    Changes nothing. NAME is an audience, or audience.destination.
    """
    shown = Output(output, quiet, no_color)
    if out is not None and compare_target is not None:
        raise click.UsageError(
            "--out writes a plan to run, and a plan with --compare-target cannot run. Leave one of them out."
        )
    if only is not None and out is not None:
        raise click.UsageError("--out writes the plan of a whole sync. Leave --only out.")
    check_only(chosen, only, "plan")
    if output == "markdown":
        refuse("sample", because="Markdown shows no records.")
    project = open_project(shown, **options)
    _show_unattended(shown, project)
    plans = project.plan(
        **chosen.arguments,
        full_refresh=full_refresh,
        sample=sample,
        compare_target=compare_target,
        only=only,
    )
    _show_plans(shown, plans, compare_target)
    if out is not None:
        from revetl.sync.plan.file import write_plan

        write_plan(out, plans, target=project.workspace.target.name, full_refresh=full_refresh)
        shown.say(f"\nRun just this plan: revetl sync --plan {out}")


@click.command("sync")
@selection_options(_everything, needed=False)
@_refresh
@click.option("--dry-run", is_flag=True, help="Show the plan and send nothing.")
@click.option("--force", multiple=True, metavar="GUARD", help="Override this guard.")
@click.option(
    "--only",
    metavar="MEMBER",
    help="Send only this member, by key or identifier, and show the responses.",
)
@click.option("--undo", is_flag=True, help="Revert the last run of --only for this member.")
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Run exactly the plan in this file."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Number of syncs to run at once; the default is 1."
)
@log_options
@plan_output_options
@project_options
def sync_command(
    chosen: Selection,
    full_refresh: bool,
    dry_run: bool,
    force: tuple[str, ...],
    only: str | None,
    undo: bool,
    plan_file: Path | None,
    threads: int | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Send what was added, updated and removed in audiences to their destinations.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    if undo and only is None:
        raise click.UsageError("--undo reverts a run of --only. Write: --only MEMBER --undo.")
    if undo and (full_refresh or dry_run or force):
        raise click.UsageError("--undo cannot be combined with --full-refresh, --dry-run or --force.")
    if force and dry_run:
        raise click.UsageError("--dry-run sends nothing, so no guard stops it. Leave --force out.")
    if output == "markdown" and not dry_run:
        raise click.UsageError("-o markdown is for plans. Use it with --dry-run, or use -o json.")
    if dry_run and threads is not None:
        raise click.UsageError("--dry-run runs no sync. Leave --threads out.")
    check_only(chosen, only, "sync")
    if plan_file is not None:
        if dry_run or full_refresh or chosen != Selection() or only is not None:
            raise click.UsageError(
                "--plan runs exactly the plan in the file. Leave the selection, --full-refresh, --dry-run "
                "and --only out."
            )
        project = open_project(out, **options)
        return _run(out, project, _planned(project, plan_file, force), threads or 1)
    check_given(chosen, "--all, or a file with --plan")
    project = open_project(out, **options)
    if dry_run:
        _show_plans(out, project.plan(**chosen.arguments, full_refresh=full_refresh, only=only), None)
        return 0
    from revetl.sync.plan.options import SyncOptions

    asked = SyncOptions(full_refresh=full_refresh, force=force, only=only)
    syncs = project.runnable(project.select(**chosen.arguments), named=chosen.name is not None)
    if only is not None:
        from revetl.api import undoing

        work = [(sync, project.for_one(sync, asked)) for sync in syncs]
        return _run(out, project, work, threads or 1, kind=undoing() if undo else None)
    code = _run(out, project, [(sync, asked) for sync in syncs], threads or 1)
    if not chosen.everything or chosen.to is not None or code == WarehouseError.exit_code:
        return code
    # Whoever opts out is removed from paused and orphaned syncs, too.
    from revetl.sync.retire import OptOuts

    _show_unattended(out, project)
    work = [(sync, SyncOptions()) for sync in project.runnable(project.opt_outs(), named=False)]
    left = _run(out, project, work, threads or 1, kind=OptOuts, is_more=True)
    return max(code, left, key=SEVERITY.index)


def check_only(chosen: Selection, only: str | None, command: str) -> None:
    """Raises UsageError for --only without the name of an audience."""
    if only is not None and not chosen.names:
        raise click.UsageError(
            f"--only takes one audience. Write: revetl {command} audience NAME --only MEMBER."
        )


@click.command("retry")
@selection_options(_everything)
@log_options
@output_options
@project_options
def retry_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Sync, and resend the records that a destination rejected.

    NAME is an audience, or audience.destination.
    """
    from revetl.sync.plan.options import SyncOptions

    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    asked = SyncOptions(retry=True)
    syncs = project.runnable(project.select(**chosen.arguments), named=chosen.name is not None)
    return _run(out, project, [(sync, asked) for sync in syncs], 1)


def _planned(project: Project, path: Path, force: tuple[str, ...]) -> list[tuple[Sync, SyncOptions]]:
    from revetl.sync.plan.file import read_plan
    from revetl.sync.plan.options import SyncOptions

    found = read_plan(path, target=project.workspace.target.name)
    return [
        (
            project.sync_named(each.sync),
            SyncOptions(
                full_refresh=found.full_refresh, force=force, expected=each.digest, expected_at=found.made_at
            ),
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
    failed: list[tuple[Sync, RevetlError]] = []
    codes = [0]

    def ended(sync: Sync, outcome: Run | RevetlError) -> None:
        codes.append(outcome.exit_code)
        with bar.hidden():
            if isinstance(outcome, RevetlError):
                failed.append((sync, outcome))
                click.echo(logs.redact(f"Error: {outcome}"), err=True)
                return
            runs.append(outcome)
            if outcome.error:
                click.echo(logs.redact(f"Error: {outcome.error}"), err=True)
            if not out.json:
                _show_run(out, outcome)
                if (
                    outcome.scope == "one"
                    and outcome.status == "success"
                    and not sum(outcome.planned.values())
                ):
                    mode, there = sync.config.mode, project.workspace.destination(sync, placeholders=True)
                    again = kind is None and not there.sends_at_most_once(mode)
                    more = "; --full-refresh sends it again" if again else ""
                    out.say(f"{outcome.sync}: nothing changed for this member{more}.")

    bar = _Bar(out)
    with bar as progress:
        project.run_all(work, threads=threads, progress=progress, on_end=ended, kind=kind)
    code = max(codes, key=SEVERITY.index)
    if out.json and not is_more:
        _print_runs(out, runs, failed, code)
    return code


def _print_runs(
    out: Output, runs: Sequence[Run], failed: Sequence[tuple[Sync, RevetlError]], code: int
) -> None:
    """Every run as JSON, and each sync that could not run with its `error` and `exit_code`; one error alone
    where none ran."""
    if failed and not runs:
        gravest = next(error for _, error in failed if error.exit_code == code)
        out.print_json(error_document(logs.redact(str(gravest)), code))
        return
    out.print_json(
        [
            *({**asdict(run), "unsent": run.unsent, "seconds": run.seconds} for run in runs),
            *(
                {"sync": sync.name, "error": logs.redact(str(error)), "exit_code": error.exit_code}
                for sync, error in failed
            ),
        ]
    )


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

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar off the terminal while lines are printed: stdout and stderr are the same screen."""
        if not self._shown:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def _planned(self, plan: Plan) -> None:
        with self._lock:
            self._total += plan.changes
            self._bar.update(self._task, total=self._total, description=plan.sync)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()
