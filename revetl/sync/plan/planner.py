"""The planning pipeline: inputs → diff → counts → guards → plan; the same for `revetl plan` and a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from revetl.delivery.serializer import shaping_in, withheld_note
from revetl.destinations.base.destination import Destination
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.counts import Counts, count_changes
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.full_snapshot import is_due, made_whole
from revetl.sync.plan.inputs import ColumnsLost, read_inputs
from revetl.sync.plan.only import check_only, favoring, find_key, narrowed
from revetl.sync.plan.options import SyncOptions
from revetl.sync.plan.plan import Plan, judged, without_columns
from revetl.sync.plan.preview import preview
from revetl.sync.plan.settle import brought_forward
from revetl.sync.state.carry_over import former_name
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse


@dataclass(frozen=True)
class Planned:
    """A plan and its inputs; the changes are in the warehouse's temporary table.

    `diff` is None if the audience has lost columns, so that nothing could be compared. `key` is the key of
    the one member selected by `only`.
    """

    plan: Plan
    diff: Diff | None = None
    counts: Counts = field(default_factory=Counts)
    key: str = ""


def plan_changes(
    workspace: Workspace,
    sync: Sync,
    destination: Destination,
    warehouse: Warehouse,
    tables: StateTables,
    options: SyncOptions,
    *,
    marked: str | None = None,
    is_run: bool = False,
) -> Planned:
    """Plan a sync, leaving its changes in the warehouse's temporary table.

    A run (`is_run`) also migrates the state of an older version. A plan changes nothing, and counts updates
    by changed field. `marked` is the last run recorded at the destination. Raises UsageError for an invalid
    mapping or an unknown `only`, and WarehouseError for a model that was not built.
    """
    only = options.only
    if only is not None:
        check_only(sync, destination)
    starts_over = options.full_refresh and only is None
    diff = read_inputs(
        workspace, sync, destination, warehouse, tables, full_refresh=starts_over, marked=marked
    )
    if isinstance(diff, ColumnsLost):
        return Planned(without_columns(sync, diff))
    if is_run:
        diff = brought_forward(diff)
    key, why = ("", None) if only is None else find_key(diff, sync, only, options.only_keys)
    diff = diff if only is None else favoring(diff, key)
    # With an empty state there are no updates.
    fields = not is_run and diff.facts.held_rows > 0
    refresh, retry = options.full_refresh, retries(options, diff)
    counts = count_changes(diff, full_refresh=refresh, retry=retry, fields=fields)
    plan = judged(workspace, sync, diff, counts, full_refresh=starts_over)
    if only is not None:
        plan = narrowed(diff, sync, plan, key, why)
    elif is_due(destination, sync, diff, plan):
        counts = count_changes(
            diff, full_refresh=True, retry=False if is_run else options.retry, fields=fields
        )
        plan = made_whole(plan, judged(workspace, sync, diff, counts))
    return Planned(plan, diff, counts, key)


def retries(options: SyncOptions, diff: Diff) -> bool:
    """Test whether rejected records are sent again.

    A sync of one member retries by default, except in at-most-once modes, which need an explicit retry.
    """
    return options.retry or (options.only is not None and not diff.presence.at_most_once)


def plan_sync(
    workspace: Workspace, sync: Sync, options: SyncOptions, size: int, compare_target: str | None = None
) -> Plan:
    """Plan a sync, with up to `size` sample records per operation. Changes nothing and needs no secrets.

    With `compare_target`, compare this target's audience with what that target's syncs delivered.
    """
    destination = workspace.destination(sync, placeholders=True)
    warehouse = workspace.warehouse(read_only=True)
    try:
        database = workspace.attached(warehouse, compare_target)
        tables = state_tables(workspace, database)
        # State that a run would carry over is read under its former name.
        named = replace(sync, called=former_name(warehouse, tables, workspace, sync))
        planned = plan_changes(workspace, named, destination, warehouse, tables, options)
        diff, plan = planned.diff, replace(planned.plan, sync=sync.name)
        if diff is None:
            return plan
        if compare_target is not None:
            # With `compare_target` the state belongs to another target, so these guards do not apply.
            stops = tuple(stop for stop in plan.stops if stop.guard not in ("identity", "restored"))
            plan = replace(plan, stops=stops)
        starts_over = options.full_refresh and options.only is None
        if starts_over and (diff.starts_over or not diff.presence.at_most_once):
            plan = replace(plan, stops=tuple(stop for stop in plan.stops if stop.guard != "lost_state"))
        if any(stop.guard == "keys" for stop in plan.stops):
            return replace(plan, digest=None)
        shaping = shaping_in(workspace.root, sync, destination)
        shown = preview(plan, planned.counts, sync, diff, destination, shaping, size)
        notes = tuple(filter(None, [*plan.notes, withheld_note(shaping, destination)]))
        return replace(plan, preview=shown, notes=notes)
    finally:
        warehouse.close()
