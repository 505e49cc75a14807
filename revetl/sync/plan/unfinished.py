"""Changes that an interrupted run was already allowed to make.

Guards check a change before any of it is sent. If the run then dies, loses its disk or gives up on the
destination, the next run plans the rest again: records pending in the state (sent, outcome unknown) and
aborted records (never sent). Both already passed the guards, or were forced. Checking them again, against the
few members acknowledged by then, would stop every later run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.guards import GuardInputs
from revetl.warehouse.templates import statement

FINISHED = ("success", "rejected")
"""Statuses of runs in which every record got a response."""

_COUNT = """
select 'again' as what, c.operation as operation, count(*) as n1, sum(c.is_sent) as n2
from :changes as c
left join :state as s on s.sync = :sync and s.key = c.key
left join (
    select distinct b.key, b.operation from :booked as b
    inner join :runs as r on r.run_id = b.run_id
    where r.sync = :sync and b.outcome = 'aborted' and r.started_at > coalesce(
        (select max(f.started_at) from :runs as f where f.sync = :sync and f.status in (:success, :rejected)
            and coalesce(f.scope, 'all') = 'all'),
        cast('1970-01-01 00:00:00' as timestamp)
    )
) as x on x.key = c.key and x.operation = case when c.operation = 'rekey' then 'add' else c.operation end
left join (select distinct p.run_id from :runs as p where p.sync = :sync) as q on q.run_id = s.pending_run_id
where x.key is not null or s.key like '% was {%' or (
    s.row_hash is null and s.pending_operation is not null and q.run_id is not null and (
        s.acknowledged_at is null or s.pending_operation = c.operation
        or (c.operation = 'rekey' and s.pending_operation <> 'update')
    )
)
group by c.operation
union all
select 'pending', 'add', count(*), 0 from :state as s
where s.sync = :sync and s.row_hash is null and s.acknowledged_at is null
"""


@dataclass(frozen=True)
class UnfinishedChanges:
    """Planned changes that an unfinished run was allowed to make, by operation.

    `pending_rows` counts state rows that the destination never acknowledged, which do not count as in
    destination state.
    """

    adds: int = 0
    updates: int = 0
    removes: int = 0
    pending_rows: int = 0


def without_unfinished(change: GuardInputs, diff: Diff) -> GuardInputs:
    """Subtract the changes of unfinished runs, leaving the rest for the volume guards."""
    found = unfinished(diff)
    return replace(
        change,
        held_rows=change.held_rows - found.pending_rows,
        adds=change.adds - found.adds,
        updates=change.updates - found.updates,
        removes=change.removes - found.removes,
    )


def unfinished(diff: Diff) -> UnfinishedChanges:
    """Count the unfinished changes in `revetl_changes`, in one statement."""
    rows = diff.warehouse.rows(
        statement(
            _COUNT,
            changes=CHANGES,
            state=diff.tables.state,
            booked=diff.tables.changes,
            runs=diff.tables.runs,
            sync=diff.sync,
            success=FINISHED[0],
            rejected=FINISHED[1],
        )
    )
    again = {operation: (int(n1), int(n2 or 0)) for what, operation, n1, n2 in rows if what == "again"}
    return UnfinishedChanges(
        adds=sum(again.get(operation, (0, 0))[0] for operation in ("add", "rekey")),
        updates=again.get("update", (0, 0))[0],
        removes=sum(again.get(operation, (0, 0))[1] for operation in ("remove", "rekey")),
        pending_rows=next(int(n1) for what, _, n1, _ in rows if what == "pending"),
    )


def delivered_before(diff: Diff) -> tuple[str, int] | None:
    """Return the last run that sent anything, and the size of destination state at its end, if the state is
    empty now.

    Counts runs that were not stopped, and stopped ones that still removed suppressed people. None if no
    members remained.
    """
    if diff.facts.present or diff.facts.last_run is None:
        return None
    rows = diff.warehouse.rows(
        statement(
            """
            select r.run_id, r.held_rows + r.delivered_add - r.delivered_remove from :runs as r
            where r.sync = :sync and (r.status <> 'stopped' or r.delivered_remove > 0)
            order by r.started_at desc, r.run_id desc limit 1
            """,
            runs=diff.tables.runs,
            sync=diff.sync,
        )
    )
    return next(((str(run_id), int(held)) for run_id, held in rows if held and held > 0), None)
