"""Destinations that only take full snapshots: when a snapshot is due, and the plan for it."""

from __future__ import annotations

from dataclasses import replace

from revetl.destinations.base.destination import Destination
from revetl.project.workspace import Sync
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.plan import Plan
from revetl.sync.plan.unfinished import FINISHED
from revetl.warehouse.templates import statement


def is_due(destination: Destination, sync: Sync, diff: Diff, plan: Plan) -> bool:
    """Whether the destination takes full snapshots and one is due: something changed, or the previous run was
    interrupted, so that its snapshot is incomplete."""
    if not destination.takes_whole(sync.config.mode):
        return False
    return plan.changes > 0 or plan.kept > 0 or not _is_finished(sync, diff)


def made_whole(plan: Plan, anew: Plan) -> Plan:
    """Return the plan `anew`, which sends every member, with the guards of `plan`, which counts the
    changes."""
    return replace(anew, stops=plan.stops, whole=True)


def _is_finished(sync: Sync, diff: Diff) -> bool:
    if diff.facts.last_run is None:
        return True
    # Run ids begin with the second in which the run began; two runs may share it.
    last = statement(
        "select r.status from :runs as r where r.sync = :sync order by r.started_at desc limit 1",
        runs=diff.tables.runs,
        sync=sync.name,
    )
    return any(status in FINISHED for (status,) in diff.warehouse.rows(last))
