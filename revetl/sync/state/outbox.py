"""What a run is about to send, in the warehouse before anything is sent.

The journal of a run is on its machine's disk. When that is lost, or cannot be read, what the run was about to
send and no checkpoint has booked is taken for sent without an answer: the next run sends it again, whatever
the audience holds by then. Without this, whom a lost run had added and who left since would never be removed.
"""

from __future__ import annotations

from sqlglot import exp

from revetl.delivery.spool import COLUMNS, FORGET, OPERATIONS
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.presence import MEMBER
from revetl.sync.plan.record_queries import forgotten, leaving, sending
from revetl.sync.state import leases
from revetl.sync.state.checkpoint import (
    ADD_CHANGES,
    ALIKE,
    KEEP_ASIDE,
    MERGE_STATE,
    NOT_YET,
    UNKNOWN,
)
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

_NOT_BOOKED = """
and not exists (
    select 1 from :changes as c
    where c.run_id = :run_id and c.key = i.key and c.operation = i.operation
)
"""


def intend(warehouse: Warehouse, tables: StateTables, diff: Diff, run_id: str) -> None:
    """Keep every change of a plan, as whole records."""
    queries = {
        "remove": leaving(diff, run_id),
        "update": sending(diff, "update", run_id),
        "add": sending(diff, "add", run_id),
        FORGET: forgotten(),
    }
    for query in queries.values():
        warehouse.run(
            statement(
                """
                insert into :intents (
                    sync, run_id, hash_by, operation, key, row_hash, identifiers, fields, origin, presence,
                    cause, caused_at, invalid
                )
                select :sync, :run_id, :hash_by, q.operation, q.key, q.row_hash, q.identifiers, q.fields,
                    q.origin, :presence, q.cause, q.caused_at, q.invalid
                from :query as q
                """,
                intents=tables.intents,
                sync=diff.sync,
                run_id=run_id,
                hash_by=diff.hash_by,
                presence=diff.presence.written,
                query=exp.Subquery(this=query),
            )
        )
    if not diff.mapping.by_key:
        # Whose identifier is not theirs any more and is sent for another key is no longer there as they were
        # sent: if they get it back, they have to be sent again.
        warehouse.run(
            statement(
                """
                update :state set row_hash = null, pending_operation = 'remove', pending_hash = null,
                    pending_run_id = :run_id
                where sync = :sync and row_hash is not null
                and coalesce(presence, :presence) = :presence and key in (
                    select s.key from :state as s
                    inner join :intents as i on i.identifiers = s.identifiers and i.key <> s.key
                    where s.sync = :sync and i.sync = :sync and i.run_id = :run_id and i.operation <> 'forget'
                    and not exists (select 1 from :model as a where :key = s.key and :theirs)
                )
                """,
                **diff.parts(),
                theirs=diff.identifiers.still_theirs(),
                presence=diff.presence.written,
                state=tables.state,
                intents=tables.intents,
                run_id=run_id,
            )
        )


def intended(tables: StateTables, sync: str, run_id: str, operation: str) -> exp.Expr:
    """The changes of an operation, in the spool's columns."""
    return (
        exp.select(*COLUMNS)
        .from_(tables.intents)
        .where(
            statement(
                "sync = :sync and run_id = :run_id and operation = :operation",
                sync=sync,
                run_id=run_id,
                operation=operation,
            )
        )
    )


def drop(warehouse: Warehouse, tables: StateTables, sync: str, run_id: str) -> None:
    """Forget what a run was about to send: it is booked."""
    warehouse.run(
        statement(
            "delete from :intents where sync = :sync and run_id = :run_id",
            intents=tables.intents,
            sync=sync,
            run_id=run_id,
        )
    )


def open_runs(warehouse: Warehouse, tables: StateTables, sync: str) -> list[str]:
    """Runs of a sync that were about to send something and are not booked, the oldest first. What is left of
    any other run tells nothing new, and may be older than what was booked since."""
    query = statement(
        "select distinct run_id from :intents as i where i.sync = :sync order by 1",
        intents=tables.intents,
        sync=sync,
    )
    return [str(run_id) for (run_id,) in warehouse.rows(query)]


def take_for_sent(warehouse: Warehouse, tables: StateTables, sync: str, run_id: str) -> int:
    """Book what a lost run was about to send, and no checkpoint has, as sent without an answer, and forget
    its intents. Gives the number of records."""
    parts: dict[str, object] = {
        "intents": tables.intents,
        "changes": tables.changes,
        "state": tables.state,
        "sync": sync,
        "run_id": run_id,
        "now": leases.now(),
        "outcome": UNKNOWN,
    }
    query = (
        "select max(hash_by), max(presence) from :intents as i where i.sync = :sync and i.run_id = :run_id"
    )
    ((parts["hash_by"], presence),) = warehouse.rows(statement(query, **parts))
    parts["presence"] = presence or MEMBER
    count = 0
    with warehouse.transaction():
        for operation in OPERATIONS:
            folding = exp.Subquery(this=statement(ALIKE + _NOT_BOOKED, **parts, operation=operation))
            ((found,),) = warehouse.rows(statement("select count(*) from :folding as g", folding=folding))
            count += int(found)
            for template in (KEEP_ASIDE, MERGE_STATE, ADD_CHANGES + NOT_YET):
                warehouse.run(statement(template, **parts, folding=folding))
        drop(warehouse, tables, sync, run_id)
    return count
