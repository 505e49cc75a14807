"""Identifiers that need a library to normalize, such as phone numbers.

A diff first finds the changed keys in SQL. Only the distinct values of changed members are then read,
normalized in Python, and loaded as one temporary table, `revetl_late` (name, raw, sent). From then on the
diff knows the value to send for each member. The state, the outbox, the spool and the write-ahead log store
only that value: a hash, if the destination accepts hashes. The values of unchanged members are in the state,
so they are not normalized again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import orjson
import pyarrow as pa
from sqlglot import exp

from revetl.destinations.base.destination import Destination
from revetl.identifiers.normalize import RULES, finish
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    select,
    statement,
    table,
)

LATE = table("revetl_late")
CHANGED = table("revetl_changed")
SENT = " sent"
"""Suffix of a row hash's fingerprint if the state stores the sent values of late identifiers; older versions
stored the raw text."""

Finish = Callable[[str], str | None]
_BATCH = 10_000
_ROWS = ("key", "new_key", "identifiers")
_COLUMNS = ("name", "raw", "sent")


def finishers(destination: Destination) -> dict[str, Finish]:
    """Return, by late identifier, the function from a text to the value to send; it returns None for invalid
    texts."""
    found: dict[str, Finish] = {}
    for identifier in destination.known_by:
        rule = identifier.hashed or identifier.normalised
        if rule is not None and RULES[rule].late is not None:
            hashed = identifier.hashed is not None
            found[identifier.name] = partial(finish, rule, region=destination.phone_region, hashed=hashed)
    return found


def _texts(names: Sequence[str]) -> pa.Schema:
    """Return a schema of string columns."""
    return pa.schema([(name, pa.string()) for name in names])


def load(
    warehouse: Warehouse, texts: exp.Expr, finish_by: Mapping[str, Finish], into: exp.Table = LATE
) -> None:
    """Normalize the distinct texts of a query (name, raw) and load them as `revetl_late` or a table of the
    same shape."""
    batches: list[pa.RecordBatch] = []
    for batch in warehouse.stream(texts, _BATCH):
        pairs = zip(*(batch.column(at).to_pylist() for at in (0, 1)), strict=True)
        sent = pa.array([finish_by[str(name)](str(raw)) for name, raw in pairs], pa.string())
        batches.append(
            pa.RecordBatch.from_arrays(
                [batch.column(0).cast(pa.string()), batch.column(1).cast(pa.string()), sent],
                schema=_texts(_COLUMNS),
            )
        )
    warehouse.load(into, pa.Table.from_batches(batches, schema=_texts(_COLUMNS)))


def load_nothing(warehouse: Warehouse) -> None:
    """Load an empty `revetl_late`."""
    warehouse.load(LATE, _texts(_COLUMNS).empty_table())


def made_by() -> exp.Expr:
    """Return the fingerprint of a state row's hash, as if the row stored sent values."""
    return statement(
        "case when hash_by like :sent then hash_by else hash_by || :mark end", sent=f"%{SENT}%", mark=SENT
    )


def with_sent(relation: exp.Expr, expressions: Mapping[str, exp.Expr]) -> exp.Subquery:
    """Join the sent values of late identifiers (name to expression over `a`) to a relation, as columns named
    by `sent_column`."""
    made = select("select a.* from :relation as a", relation=relation)
    for at, (name, expression) in enumerate(expressions.items()):
        alias = f"l{at}"
        made = made.select(exp.alias_(column("sent", of=alias), sent_column(at), quoted=True)).join(
            exp.alias_(LATE.copy(), alias, table=True),
            on=statement(
                ":its = :name and :raw = :text",
                its=column("name", of=alias),
                name=name,
                raw=column("raw", of=alias),
                text=expression,
            ),
            join_type="left",
        )
    return exp.Subquery(this=made)


def sent_column(at: int) -> str:
    """Name the column with the sent value of the late identifier at a position."""
    return f"revetl_sent_{at}"


def rows_brought_forward(
    warehouse: Warehouse, state: exp.Table, sync: str, finish_by: Mapping[str, Finish]
) -> None:
    """Migrate the state of a sync without a known mapping from raw texts to sent values.

    Older versions stored the raw texts. Texts that are invalid now were never sent.
    """
    old = select(
        "select s.key, s.identifiers from :state as s where s.sync = :sync and not (s.hash_by like :sent)",
        state=state,
        sync=sync,
        sent=f"%{SENT}%",
    )
    made: list[dict[str, str]] = []
    for batch in warehouse.stream(old, _BATCH) if finish_by else ():
        for key, text in zip(*(batch.column(at).to_pylist() for at in (0, 1)), strict=True):
            identifiers = orjson.loads(text or "{}")
            late = {name: identifiers[name] for name in finish_by if identifiers.get(name) is not None}
            if not late:
                continue
            sent = {name: finish_by[name](str(value)) for name, value in late.items()}
            now = orjson.dumps({**identifiers, **sent}).decode()
            plain, aside, _ = key.partition(" was {")
            made.append({"key": key, "new_key": f"{plain} was {now}" if aside else key, "identifiers": now})
    if not made:
        return
    warehouse.load(LATE, pa.Table.from_pylist(made, schema=_texts(_ROWS)))
    warehouse.run(
        statement(
            """
            merge into :state as s using :late as f on s.sync = :sync and s.key = f.key
            when matched then update set key = f.new_key, identifiers = f.identifiers,
                hash_by = s.hash_by || :mark
            """,
            state=state,
            late=LATE,
            sync=sync,
            mark=SENT,
        )
    )


def union(queries: list[exp.Select]) -> exp.Query:
    """Combine queries into one, without duplicates."""
    return queries[0] if len(queries) == 1 else exp.union(*queries)
