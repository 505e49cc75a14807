"""`revetl retire`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    log_options,
    open_project,
    plan_output_options,
    project_options,
    selection_options,
)
from revetl.cli.sync import _run, _show_plans


@click.command("retire")
@selection_options("Every orphaned and paused sync.")
@click.option("--dry-run", is_flag=True, help="Show the plan and send nothing.")
@click.option("--force", multiple=True, metavar="GUARD", help="Override this guard.")
@log_options
@plan_output_options
@project_options
def retire_command(
    chosen: Selection,
    dry_run: bool,
    force: tuple[str, ...],
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Remove everyone a sync delivered from its destination, and close the sync.

    NAME is an audience, or audience.destination; it may be one that the project no longer has.
    """
    out = Output(output, quiet, no_color)
    if force and dry_run:
        raise click.UsageError("--dry-run sends nothing, so no guard stops it. Leave --force out.")
    if output == "markdown" and not dry_run:
        raise click.UsageError("-o markdown is for plans. Use it with --dry-run, or use -o json.")
    project = open_project(out, **options)
    syncs = project.to_retire(everything=chosen.everything, **chosen.arguments)
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
