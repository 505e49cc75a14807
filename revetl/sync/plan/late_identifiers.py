"""Identifiers that take a library, such as phone numbers: what is sent of them, as a table in the warehouse.

A diff compares what the warehouse has, in SQL, and so finds the changed keys. Only of these, the different
values are read, normalized on the runner and loaded as one temporary table, `revetl_late` (name, raw, sent).
From there on the diff knows of each member what is sent, and the state, the intents, the spool and the
journal keep that and nothing else: of a destination that takes hashes, a hash. What an unchanged member was
sent is in the state, so nobody else has to be normalized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from revetl.mapping.fields import Mapped
    from revetl.sync.plan.diff import Diff

LATE = table("revetl_late")
CHANGED = table("revetl_changed")
SENT = " sent"
"""What the name of a row hash's maker has where the state keeps what was sent of late identifiers; older
versions kept the text that it was made of."""

Finish = Callable[[str], str | None]
_BATCH = 10_000
_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "HUGEINT", "NUMBER", "NUMERIC", "DECIMAL", "LONG")
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


def has_old(diff: Diff) -> bool:
    """Whether an older version has left texts of late identifiers in the state."""
    found = diff.warehouse.rows(
        statement(
            "select count(*) from :state as s where s.sync = :sync and not (s.hash_by like :sent)",
            state=diff.tables.state,
            sync=diff.sync,
            sent=f"%{SENT}%",
        )
    )
    return bool(found[0][0])


def old_texts(diff: Diff) -> list[exp.Select]:
    """The texts that an older version has left in the state, by identifier."""
    return [
        select(
            "select distinct :name as name, :text as raw from :state as s "
            "where s.sync = :sync and not (s.hash_by like :sent) and :text is not null",
            name=item.name,
            text=diff.warehouse.json_text(column("identifiers", of="s"), item.name),
            state=diff.tables.state,
            sync=diff.sync,
            sent=f"%{SENT}%",
        )
        for item in diff.late
    ]


def as_sent(diff: Diff) -> exp.Subquery:
    """The state's rows of a sync with what was sent in the place of what an older version has left: the
    columns of the state that a diff reads. `revetl_late` has the texts."""
    texts = {
        item.name: diff.warehouse.json_text(column("identifiers", of="a"), item.name) for item in diff.late
    }
    at = {item.name: place for place, item in enumerate(diff.late)}
    joined = with_sent(
        exp.Subquery(
            this=statement(
                "select * from :state as s where s.sync = :sync", state=diff.tables.state, sync=diff.sync
            )
        ),
        texts,
    )

    def value(name: str) -> exp.Expr:
        text = diff.warehouse.json_text(column("identifiers", of="s"), name)
        if name not in at:
            return text
        # Of a text that is none, nothing was sent, and nothing may be sent to take it out.
        return column(sent_column(at[name]), of="s")

    def typed(item: Mapped) -> tuple[exp.Expr, str]:
        if not item.type.upper().startswith(_NUMBERS):
            return value(item.name), "VARCHAR"
        kind = exp.DataType.build(item.type, dialect=diff.warehouse.dialect)
        return exp.cast(value(item.name), kind), item.type

    identifiers = diff.warehouse.json_object({item.name: typed(item) for item in diff.mapping.identifiers})
    return exp.Subquery(
        this=statement(
            """
            select s.sync as sync, s.key as key, s.row_hash as row_hash, :made_by as hash_by,
                case when s.hash_by like :sent then s.identifiers else :identifiers end as identifiers,
                s.fields as fields, s.pending_operation as pending_operation, s.pending_hash as pending_hash,
                s.pending_run_id as pending_run_id, :presence as presence,
                case when s.hash_by like :sent then 0 else 1 end as is_old
            from :joined as s
            """,
            made_by=made_by(),
            sent=f"%{SENT}%",
            identifiers=identifiers,
            presence=column("presence", of="s")
            if diff.facts.has_presence
            else statement("cast(null as varchar)"),
            joined=joined,
        )
    )


def brought_forward(diff: Diff) -> Diff:
    """The diff, once the state keeps what was sent where an older version has left the texts it was made
    of."""
    if not diff.is_old:
        return diff
    load(diff.warehouse, union(old_texts(diff)), diff.finishers)
    aside = "' was {'"
    diff.warehouse.run(
        statement(
            f"""
            merge into :state as s
            using (
                select h.key as key, h.identifiers as identifiers, h.hash_by as hash_by,
                    case when h.key like '% was {{%'
                        then substr(h.key, 1, strpos(h.key, {aside}) - 1) || ' was ' || h.identifiers
                        else h.key
                    end as new_key
                from :as_sent as h where h.is_old = 1
            ) as f on s.sync = :sync and s.key = f.key
            when matched then update set key = f.new_key, identifiers = f.identifiers, hash_by = f.hash_by
            """,  # noqa: S608  the pieces are constants
            state=diff.tables.state,
            as_sent=as_sent(diff),
            sync=diff.sync,
        )
    )
    return replace(diff, is_old=False)


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
