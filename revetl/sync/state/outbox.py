"""The outbox: the records of a run, in the warehouse before anything is sent.

The write-ahead log of a run is on its machine's disk. If it is lost or unreadable, the outbox rows that no
checkpoint covers count as sent without a response: the next run sends them again, or removes them if they
left the audience. Without the outbox, members added by a lost run who left since would never be removed.
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
    """Write every change of a plan to the outbox, as full records."""
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
        # If an identifier moves to another key, the destination no longer has the former owner as sent: when
        # they get the identifier back, they have to be sent again.
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
    """Return the query of an operation's changes, in the columns of the spool."""
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
    """Delete the outbox rows of a run whose outcome is in the state."""
    warehouse.run(
        statement(
            "delete from :intents where sync = :sync and run_id = :run_id",
            intents=tables.intents,
            sync=sync,
            run_id=run_id,
        )
    )


def open_runs(warehouse: Warehouse, tables: StateTables, sync: str) -> list[str]:
    """Return the runs of a sync with outbox rows whose outcome is not in the state, oldest first. Files
    left by any other run contain nothing new, and may be older than the state."""
    query = statement(
        "select distinct run_id from :intents as i where i.sync = :sync order by 1",
        intents=tables.intents,
        sync=sync,
    )
    return [str(run_id) for (run_id,) in warehouse.rows(query)]


def take_for_sent(warehouse: Warehouse, tables: StateTables, sync: str, run_id: str) -> int:
    """Record the outbox rows of a lost run that no checkpoint covers as sent without a response, and delete
    them. Return the number of records."""
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
