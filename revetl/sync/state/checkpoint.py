"""Checkpoints: merge the acknowledgements of the write-ahead log into the state.

The records are in the warehouse since before the delivery (the outbox, `sync_intents`) and are not uploaded
again: only the keys of answered ranges are, with a result per key where results differ, and joined to the
outbox. If all records of an operation have the same outcome, no keys are uploaded.

A checkpoint is idempotent: after a crash between the warehouse's commit and the mark in the log, it is merged
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pyarrow as pa
from sqlglot import exp

from revetl.delivery.journal import (
    DELIVERED,
    Journal,
    Range,
    Refusal,
)
from revetl.delivery.scrub import scrub
from revetl.delivery.spool import OPERATIONS, Spool
from revetl.mapping.fields import trimmed
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    query,
    statement,
    table,
)

FOLDING = table("revetl_folding")
FORGOTTEN = table("revetl_forgotten")
_RANGES = 4_096
# DuckDB needs several times the size of the rows for a merge.
_MERGED_ROWS = 125_000
_MERGED_BYTES = 12_000_000
UNKNOWN, _REJECTED, _ABORTED = "unknown", "rejected", "aborted"


@cache
def _keys_schema() -> pa.Schema:
    return pa.schema([pa.field("key", pa.string())])


@cache
def _results_schema() -> pa.Schema:
    """Return the schema of record keys with their results."""
    return pa.schema(
        [
            *_keys_schema(),
            pa.field("outcome", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("field", pa.string()),
            pa.field("answer", pa.string()),
            pa.field("attempts", pa.int64()),
            pa.field("unsure", pa.int64()),
            pa.field("kept_reason", pa.string()),
        ]
    )


# All outbox rows of an operation, with the same outcome.
ALIKE = """
select i.*, :outcome as outcome, cast(null as varchar) as reason, cast(null as varchar) as field,
    cast(null as varchar) as answer, 0 as attempts, 0 as unsure, cast(null as varchar) as kept_reason
from :intents as i
where i.sync = :sync and i.run_id = :run_id and i.operation = :operation
"""
_OF_KEYS = " and i.key in (select f.key from :folding as f)"
_EACH = """
select i.*, f.outcome, f.reason, f.field, f.answer, f.attempts, f.unsure, f.kept_reason
from :intents as i inner join :folding as f on f.key = i.key
where i.sync = :sync and i.run_id = :run_id and i.operation = :operation
"""

# The source query computes the outcome of each record, so that the merge has one clause of each kind: some
# engines allow no more.
MERGE_STATE = """
merge into :state as s
using (
    select g.key, g.operation, g.identifiers, g.fields,
        case when g.outcome = 'delivered' and g.operation = 'remove' then 1 else 0 end as leaves,
        case when g.outcome = 'delivered' then 1 else 0 end as is_known,
        case when g.outcome = 'delivered' or g.operation = 'add' then 1 else 0 end as is_whole,
        case when g.outcome = 'delivered' then g.row_hash end as row_hash,
        case when g.outcome <> 'delivered' then g.operation end as pending_operation,
        case when g.outcome <> 'delivered' and g.operation <> 'remove' then g.row_hash end as pending_hash,
        case when g.outcome <> 'delivered' then g.origin end as pending_run_id
    from :folding as g where g.outcome <> 'rejected' or g.unsure = 1
) as f on s.sync = :sync and s.key = f.key
when matched and f.leaves = 1 then delete
when matched then update set
    row_hash = f.row_hash,
    hash_by = case when f.is_known = 1 then :hash_by else s.hash_by end,
    identifiers = case when f.is_whole = 1 then f.identifiers else s.identifiers end,
    fields = case when f.is_whole = 1 then f.fields else s.fields end,
    acknowledged_at = case when f.is_known = 1 then :now else s.acknowledged_at end,
    run_id = case when f.is_known = 1 then :run_id else s.run_id end,
    pending_operation = f.pending_operation, pending_hash = f.pending_hash,
    pending_run_id = f.pending_run_id,
    presence = case when s.presence = 'member' and :presence in ('profile', 'created') then 'member'
        else :presence end
when not matched and f.operation <> 'remove' then insert (
    sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id,
    pending_operation, pending_hash, pending_run_id, presence
) values (
    :sync, f.key, f.row_hash, :hash_by, f.identifiers, f.fields,
    case when f.is_known = 1 then :now end, :run_id,
    f.pending_operation, f.pending_hash, f.pending_run_id, :presence
)
"""

_MERGE_REJECTIONS = """
merge into :rejections as r
using (select * from :folding as g where outcome = 'rejected') as f on r.sync = :sync and r.key = f.key
when matched then update set
    operation = f.operation, row_hash = f.row_hash, field = f.field, reason = f.reason, answer = f.answer,
    attempts = r.attempts + f.attempts,
    identifiers = f.identifiers, fields = f.fields, last_rejected_at = :now, run_id = :run_id
when not matched then insert (
    sync, key, operation, row_hash, field, reason, answer, attempts, identifiers, fields,
    first_rejected_at, last_rejected_at, run_id
) values (
    :sync, f.key, f.operation, f.row_hash, f.field, f.reason, f.answer, f.attempts, f.identifiers, f.fields,
    :now, :now, :run_id
)
"""

_ACCEPTED = """
delete from :rejections where sync = :sync
and key in (select key from :folding as g where outcome = 'delivered')
"""

# A member who was added under a new identifier while the state still has the old one was not removed under
# the old one: the remove was rejected, got no response, or another member gets the identifier. The old
# identifier stays in the state under a separate key, which no audience has. It is therefore planned as a
# remove until it is removed, or the other member has it.
KEEP_ASIDE = """
insert into :state (sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id, presence)
select :sync, s.key || ' was ' || s.identifiers, coalesce(s.row_hash, 0), s.hash_by, s.identifiers, s.fields,
    s.acknowledged_at, :run_id, s.presence
from :state as s inner join :folding as g on g.key = s.key
where s.sync = :sync and g.operation = 'add' and (g.outcome <> 'rejected' or g.unsure = 1)
and s.identifiers <> g.identifiers and coalesce(s.presence, :presence) = :presence
and not exists (
    select 1 from :state as o where o.sync = :sync and o.key = s.key || ' was ' || s.identifiers
)
"""

ADD_CHANGES = """
insert into :changes (
    run_id, sync, key, operation, cause, outcome, reason, caused_at, changed_at
)
select :run_id, :sync, g.key, g.operation, g.cause, g.outcome, g.kept_reason, g.caused_at, :now
from :folding as g
where g.operation <> 'forget'
"""

NOT_YET = """
and not exists (
    select 1 from :changes as c
    where c.run_id = :run_id and c.key = g.key and c.operation = g.operation
)
"""


@dataclass(frozen=True)
class Checkpoint:
    """Merges one run's write-ahead log into the state of its sync.

    `by_key`: members are identified by the key, so identifiers never change. `refused_before`: the
    destination may have rejected some of the records before. `again`: an interrupted run may already have
    merged parts. `presence` is the presence of delivered members (presence.py)."""

    tables: StateTables
    sync: str
    run_id: str
    hash_by: str
    presence: str
    spool: Spool
    journal: Journal
    by_key: bool = False
    refused_before: bool = True
    again: bool = False

    def fold(self, warehouse: Warehouse) -> None:
        """Merge every delivered range that is not merged yet."""
        while ranges := self.journal.unfolded(_RANGES):
            for part in self._parts(ranges):
                self._merge(warehouse, [cut for _, cut in part], DELIVERED)
                self.journal.mark_folded(rowid for rowid, _ in part if rowid is not None)

    def fold_rest(self, warehouse: Warehouse) -> int:
        """Write records that were sent without a response to the state, and records that were not attempted
        to `sync_changes`. Return the number of records with an unknown outcome."""
        unknown = self.journal.unknown()
        for part in self._parts([(0, cut) for cut in sorted(unknown, key=_in_order)]):
            self._merge(warehouse, [cut for _, cut in part], UNKNOWN)
        aborted = self.journal.aborted({operation: self.spool.rows(operation) for operation in OPERATIONS})
        for part in self._parts([(0, cut) for cut in aborted]):
            self._add_changes(warehouse, self._load(warehouse, [cut for _, cut in part], _ABORTED))
        return sum(cut.last - cut.first for cut in unknown)

    def forget(self, warehouse: Warehouse, identifiers: Sequence[str]) -> None:
        """Delete keys that left the audience and whose `identifiers` all belong to other acknowledged keys.

        If the new owner was rejected, the identifiers still have to be removed. Members identified by the key
        cannot share it."""
        if self.by_key:
            return
        free = [
            statement(
                ":mine is not null and :text <> '' and :mine not in ("
                "select :theirs from :state as o where o.sync = :sync and o.row_hash is not null "
                "and coalesce(o.presence, :presence) = :presence "
                "and o.key not in (select f.key from :left as f) and :theirs is not null)",
                mine=warehouse.json_text(column("identifiers", of="s"), name),
                # An older version may have sent blank identifiers, which match no one.
                text=trimmed(warehouse.json_text(column("identifiers", of="s"), name)),
                theirs=warehouse.json_text(column("identifiers", of="o"), name),
                state=self.tables.state,
                sync=self.sync,
                presence=self.presence,
                left=FORGOTTEN,
            )
            for name in identifiers
        ]
        warehouse.temporary(
            FORGOTTEN,
            query(
                """
                select i.key from :intents as i
                where i.sync = :sync and i.run_id = :run_id and i.operation = 'forget'
                union all
                select s.key from :state as s
                where s.sync = :sync and s.run_id = :run_id and s.key like '% was {%'
                """,
                intents=self.tables.intents,
                state=self.tables.state,
                sync=self.sync,
                run_id=self.run_id,
            ),
        )
        warehouse.run(
            statement(
                """
                delete from :state where sync = :sync and key in (
                    select s.key from :state as s inner join :left as f on f.key = s.key
                    where s.sync = :sync and not (:free)
                )
                """,
                state=self.tables.state,
                left=FORGOTTEN,
                sync=self.sync,
                free=exp.or_(*free),
            )
        )

    def _parts(self, ranges: list[tuple[int, Range]]) -> Iterator[list[tuple[int | None, Range]]]:
        """Group ranges, in order, into merges of bounded memory; a range that is too large is split, and its
        number comes with the last piece. A member can be removed and added in one run, so each merge has one
        operation, which keeps their order."""
        part: list[tuple[int | None, Range]] = []
        rows, size = 0, 0.0
        cuts = [cut for _, cut in ranges]
        for at, piece, taken in self.spool.pieces(cuts, _MERGED_ROWS, _MERGED_BYTES):
            count, (rowid, cut) = piece.last - piece.first, ranges[at]
            is_full = rows + count > _MERGED_ROWS or size + taken > _MERGED_BYTES
            if part and (is_full or part[0][1].operation != cut.operation):
                yield part
                part, rows, size = [], 0, 0.0
            part.append((rowid if piece.last == cut.last else None, piece))
            rows, size = rows + count, size + taken
        if part:
            yield part

    def _merge(self, warehouse: Warehouse, cuts: list[Range], outcome: str) -> None:
        """Merge ranges of one operation, in one transaction."""
        warehouse.make_room(self.spool.size(cuts))
        # Creating a table commits the transaction on some engines.
        folding = self._load(warehouse, cuts, outcome)
        refused = self.journal.has_rejections()
        needed = {
            KEEP_ASIDE: not self.by_key and cuts[0].operation == "add",
            MERGE_STATE: True,
            _ACCEPTED: refused or self.refused_before,
            _MERGE_REJECTIONS: refused,
        }
        with warehouse.transaction():
            self._add_changes(warehouse, folding)
            for template in (template for template, is_needed in needed.items() if is_needed):
                warehouse.run(statement(template, **self._parts_of_statements(), folding=folding))

    def _add_changes(self, warehouse: Warehouse, folding: exp.Expr) -> None:
        template = ADD_CHANGES + (NOT_YET if self.again or not warehouse.has_transactions else "")
        warehouse.run(statement(template, **self._parts_of_statements(), folding=folding))

    def _parts_of_statements(self) -> dict[str, object]:
        return {
            "state": self.tables.state,
            "changes": self.tables.changes,
            "rejections": self.tables.rejections,
            "sync": self.sync,
            "run_id": self.run_id,
            "hash_by": self.hash_by,
            "presence": self.presence,
            "now": leases.now(),
        }

    def _load(self, warehouse: Warehouse, cuts: list[Range], outcome: str) -> exp.Expr:
        """Load the results of ranges of one operation, and return a query of their outbox rows with the
        outcome of each."""
        joined, operation = list(_joined(cuts)), cuts[0].operation
        rejected = {cut: self.journal.rejections(cut) for cut in joined} if outcome == DELIVERED else {}
        differ = any(rejected.values())
        template = ALIKE
        if differ:
            batches = [
                _results(cut, rejected[whole], batch)
                for whole in joined
                for cut, batch in self.spool.read([whole], ("key", "identifiers", "fields"))
            ]
            template = _EACH
            warehouse.load(FOLDING, pa.Table.from_batches(batches, schema=_results_schema()))
        elif joined != [Range(operation, 0, self.spool.rows(operation))]:
            template = ALIKE + _OF_KEYS
            keys = [batch for _, batch in self.spool.read(joined, ("key",))]
            warehouse.load(FOLDING, pa.Table.from_batches(keys, schema=_keys_schema()))
        return exp.Subquery(
            this=statement(
                template,
                intents=self.tables.intents,
                folding=FOLDING,
                sync=self.sync,
                run_id=self.run_id,
                operation=operation,
                outcome=outcome,
            )
        )


def _results(cut: Range, rejected: Mapping[int, Refusal], batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the results of delivered records by key; `rejected` has at least those of the range, by
    position.

    `kept_reason` is kept after the person's data is erased, so it contains no personal data; an answer
    contains none of the other records of the batch."""
    size = cut.last - cut.first
    outcomes, attempts, unsure = [DELIVERED] * size, [0] * size, [0] * size
    texts: dict[str, list[str | None]] = {name: [None] * size for name in ("reason", "field", "answer")}
    kept: list[str | None] = [None] * size
    for place, refusal in rejected.items():
        if not cut.first <= place < cut.last:
            continue
        index = place - cut.first
        record = (batch.column(name)[index].as_py() for name in ("identifiers", "fields"))
        kept[index] = scrub(refusal.reason, *record)
        outcomes[index], attempts[index], unsure[index] = _REJECTED, refusal.attempts, int(refusal.unsure)
        for name, values in texts.items():
            values[index] = getattr(refusal, name)
        texts["answer"][index] = scrub(refusal.answer)
    columns: list[pa.Array[Any]] = [batch.column("key"), pa.array(outcomes, pa.string())]
    columns += [pa.array(values, pa.string()) for values in texts.values()]
    columns += [pa.array(attempts, pa.int64()), pa.array(unsure, pa.int64()), pa.array(kept, pa.string())]
    return pa.RecordBatch.from_arrays(columns, schema=_results_schema())


def _joined(cuts: list[Range]) -> Iterator[Range]:
    """Join adjacent ranges into one."""
    waiting: Range | None = None
    for cut in sorted(cuts, key=lambda each: (each.operation, each.first)):
        if waiting is not None and (waiting.operation, waiting.last) == (cut.operation, cut.first):
            waiting = replace(waiting, last=cut.last)
            continue
        if waiting is not None:
            yield waiting
        waiting = cut
    if waiting is not None:
        yield waiting


def _in_order(cut: Range) -> tuple[int, int]:
    return OPERATIONS.index(cut.operation), cut.first
