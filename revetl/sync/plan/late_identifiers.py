"""Identifiers that take a library, such as phone numbers: what is sent of them, as a table in the warehouse.

A diff compares what the warehouse has, in SQL, and so finds the changed keys. Only of these, the different
values are read, normalized on the runner and loaded as one temporary table, `revetl_late` (name, raw, sent).
From there on the diff knows of each member what is sent, and the state, the intents, the spool and the
journal keep that and nothing else: of a destination that takes hashes, a hash. What an unchanged member was
sent is in the state, so nobody else has to be normalized.
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
"""What the name of a row hash's maker has where the state keeps what was sent of late identifiers; older
versions kept the text that it was made of."""

Finish = Callable[[str], str | None]
_BATCH = 10_000
_ROWS = ("key", "new_key", "identifiers")
_COLUMNS = ("name", "raw", "sent")


def finishers(destination: Destination) -> dict[str, Finish]:
    """By the identifiers of a destination that take a library, what makes of a text what is sent; None for
    one that is no identifier."""
    found: dict[str, Finish] = {}
    for identifier in destination.known_by:
        rule = identifier.hashed or identifier.normalised
        if rule is not None and RULES[rule].late is not None:
            hashed = identifier.hashed is not None
            found[identifier.name] = partial(finish, rule, region=destination.phone_region, hashed=hashed)
    return found


def _texts(names: Sequence[str]) -> pa.Schema:
    """The schema of columns of text."""
    return pa.schema([(name, pa.string()) for name in names])


def load(
    warehouse: Warehouse, texts: exp.Expr, finish_by: Mapping[str, Finish], into: exp.Table = LATE
) -> None:
    """Leave `revetl_late`, or a table of the same shape, in the warehouse, of a query of different texts
    (name, raw)."""
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
    """Leave an empty `revetl_late` in the warehouse."""
    warehouse.load(LATE, _texts(_COLUMNS).empty_table())


def made_by() -> exp.Expr:
    """The maker of a state row's hash, as if the row had what was sent."""
    return statement(
        "case when hash_by like :sent then hash_by else hash_by || :mark end", sent=f"%{SENT}%", mark=SENT
    )


def with_sent(relation: exp.Expr, expressions: Mapping[str, exp.Expr]) -> exp.Subquery:
    """A relation `a` with what is sent of its late identifiers (name to expression over it) as the columns
    that `sent_column` names."""
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
    """The column of what is sent of the late identifier in a place."""
    return f"revetl_sent_{at}"


def rows_brought_forward(
    warehouse: Warehouse, state: exp.Table, sync: str, finish_by: Mapping[str, Finish]
) -> None:
    """Have the state of a sync whose mapping is not known keep what was sent where an older version has left
    the texts it was made of. What is not valid now was not sent."""
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
    """One query of several, without repeats."""
    return queries[0] if len(queries) == 1 else exp.union(*queries)
