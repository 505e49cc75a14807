"""Destinations that are given the whole audience or nothing: when they are due, and what is planned then."""

from __future__ import annotations

from dataclasses import replace

from revetl.destinations.base.destination import Destination
from revetl.project.workspace import Sync
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.plan import Plan
from revetl.sync.plan.unfinished import FINISHED
from revetl.warehouse.templates import statement


def is_due(destination: Destination, sync: Sync, diff: Diff, plan: Plan) -> bool:
    """Whether a destination takes the whole audience, and is to have it now: something changed, or the run
    before this one was cut short, so that what it gave is not whole."""
    if not destination.takes_whole(sync.config.mode):
        return False
    return plan.changes > 0 or plan.kept > 0 or not _is_finished(sync, diff)


def made_whole(plan: Plan, anew: Plan) -> Plan:
    """The plan that sends every member `anew`. What guards look at is what changed, which `plan` says."""
    return replace(anew, stops=plan.stops, whole=True)


def _is_finished(sync: Sync, diff: Diff) -> bool:
    if diff.facts.last_run is None:
        return True
    # Ids of runs begin with the second they began in, which two may share.
    last = statement(
        "select r.status from :runs as r where r.sync = :sync order by r.started_at desc limit 1",
        runs=diff.tables.runs,
        sync=sync.name,
    )
    return any(status in FINISHED for (status,) in diff.warehouse.rows(last))
