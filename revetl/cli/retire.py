"""`revetl retire`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from revetl.cli.common import (
    Output,
    audience_name,
    check_selection,
    log_options,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.cli.sync import _run, _show_plans


@click.command("retire")
@selection_options("Every orphaned and paused sync.", with_sync=True)
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--force", multiple=True, metavar="GUARD", help="Override this guard.")
@log_options
@output_options
@project_options
def retire_command(
    words: tuple[str, ...],
    to: str | None,
    select: str | None,
    exclude: str | None,
    state: Path | None,
    everything: bool,
    dry_run: bool,
    force: tuple[str, ...],
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Remove everyone a sync holds from its destination, and close it. SYNC (audience.destination) may be one
    that the project no longer has."""
    out = Output(output, quiet, no_color)
    names = "SYNC, audience NAME, --select or --exclude SELECTION"
    check_selection(words, everything, select=select, exclude=exclude, names=names)
    sync = words[0] if len(words) == 1 else None
    project = open_project(out, **options)
    syncs = project.to_retire(
        None if sync is not None else audience_name(words),
        sync=sync,
        everything=everything,
        to=to,
        select=select,
        exclude=exclude,
        state=state,
    )
    if not syncs:
        out.say("No sync is orphaned or paused.")
        return 0
    if dry_run:
        _show_plans(out, project.retirements(syncs), None)
        return 0
    from revetl.sync.plan.options import SyncOptions
    from revetl.sync.retire import Retirement

    for each in syncs:
        if not each.paused and each.called is None:
            out.say(
                f"Warning: {each.name} is still enabled: the next sync adds everyone again. Remove it, or "
                "set `enabled: false`."
            )
    asked = SyncOptions(force=force)
    return _run(out, project, [(each, asked) for each in syncs], 1, kind=Retirement)
