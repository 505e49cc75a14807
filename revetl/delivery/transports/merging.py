"""Write rows into a table in one idempotent statement."""

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
"""By operation, whether existing rows are updated, and missing rows inserted."""


@dataclass(frozen=True)
class Order:
    """Rows to write: `columns`, identified by `key`, with an `operation` (upsert, insert, update, delete).
    Existing values in the columns of `keep` are not overwritten."""

    operation: str
    key: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    keep: Sequence[str] = ()

    def incoming(self) -> pa.Table:
        """The rows as texts, `c0`, `c1` and so on; the last row of each key."""
        at = [self.columns.index(name) for name in self.key]
        rows = {tuple(_text(row[place]) for place in at): row for row in self.rows}.values()
        columns = [
            pa.array([_text(row[place]) for row in rows], pa.string()) for place in range(len(self.columns))
        ]
        return pa.Table.from_arrays(columns, names=[f"c{place}" for place in range(len(self.columns))])


def merge(order: Order, target: exp.Table, types: Mapping[str, str], warehouse: Warehouse) -> exp.Expr | None:
    """Return the statement that merges the loaded table INCOMING into a table with the columns `types`;
    None if there is nothing to do. The engine casts the texts to its types, and refuses invalid ones."""
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
    """Return a value as text that an engine can cast."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _read(at: int, kind: str, warehouse: Warehouse) -> exp.Expr:
    """Return the cast of a loaded text to a column's type."""
    text, lower = column(f"c{at}", of="g"), kind.lower()
    if any(word in lower for word in ("json", "variant", "super")):
        return warehouse.document(text)
    if any(word in lower for word in ("char", "text", "string")) and "[" not in lower:
        # A cast would truncate texts that are too long for the column.
        return text
    try:
        return exp.cast(text, exp.DataType.build(kind, dialect=warehouse.dialect))
    except (sqlglot.errors.SqlglotError, ValueError):
        return text
