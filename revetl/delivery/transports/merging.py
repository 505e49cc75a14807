"""Rows into a table by one statement, which comes to the same however often it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import sqlglot
from sqlglot import exp

from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement, table

INCOMING = table("revetl_incoming")
_OPERATIONS = {"upsert": (True, True), "insert": (False, True), "update": (True, False)}
"""By operation, whether rows that are there are changed, and those that are not are made."""


@dataclass(frozen=True)
class Order:
    """What is asked for: rows of `columns`, known by those of `key`, to be an `operation` (upsert, insert,
    update, delete). A value that is there in one of the columns of `keep` stays."""

    operation: str
    key: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    keep: Sequence[str] = ()

    def incoming(self) -> pa.Table:
        """The rows as texts, `c0`, `c1` and so on; of rows of one key, the last."""
        at = [self.columns.index(name) for name in self.key]
        rows = {tuple(_text(row[place]) for place in at): row for row in self.rows}.values()
        columns = [
            pa.array([_text(row[place]) for row in rows], pa.string()) for place in range(len(self.columns))
        ]
        return pa.Table.from_arrays(columns, names=[f"c{place}" for place in range(len(self.columns))])


def merge(order: Order, target: exp.Table, types: Mapping[str, str], warehouse: Warehouse) -> exp.Expr | None:
    """The statement that puts what was loaded as INCOMING into a table whose columns are `types`; None where
    there is nothing to do. The engine reads the texts as its own types, and refuses those that are none."""
    names = {name: exp.to_identifier(name, quoted=True).sql() for name in order.columns}
    on = " and ".join(f"t.{names[name]} = s.{names[name]}" for name in order.key)
    clauses = []
    if order.operation == "delete":
        clauses.append("when matched then delete")
    else:
        changes, creates = _OPERATIONS[order.operation]
        others = [name for name in order.columns if name not in order.key]
        if changes and others:
            sets = (
                f"{names[name]} = coalesce(t.{names[name]}, s.{names[name]})"
                if name in order.keep
                else f"{names[name]} = s.{names[name]}"
                for name in others
            )
            clauses.append(f"when matched then update set {', '.join(sets)}")
        if creates:
            into, made = ", ".join(names.values()), ", ".join(f"s.{name}" for name in names.values())
            clauses.append(f"when not matched then insert ({into}) values ({made})")  # noqa: S608  quoted
    if not clauses:
        return None
    values = [
        exp.alias_(_read(at, types[name], warehouse), name, quoted=True)
        for at, name in enumerate(order.columns)
    ]
    source = exp.select(*values).from_(exp.alias_(INCOMING.copy(), "g", table=True)).subquery("s")
    template = f"merge into :target as t using :source on {on} {' '.join(clauses)}"
    return statement(template, target=target, source=source)


def _text(value: Any) -> str | None:
    """A value as the text that an engine reads it from."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _read(at: int, kind: str, warehouse: Warehouse) -> exp.Expr:
    """A loaded text as a value of a column's type."""
    text, lower = column(f"c{at}", of="g"), kind.lower()
    if any(word in lower for word in ("json", "variant", "super")):
        return warehouse.document(text)
    if any(word in lower for word in ("char", "text", "string")) and "[" not in lower:
        # A cast would cut what is too long for the column.
        return text
    try:
        return exp.cast(text, exp.DataType.build(kind, dialect=warehouse.dialect))
    except (sqlglot.errors.SqlglotError, ValueError):
        return text
