"""Converts records to Arrow columns with the columns' types."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa

from revetl.destinations.base import portable_types

Row = Mapping[str, Any]
_UNFIT = (ValueError, TypeError, ArithmeticError, pa.ArrowException)
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def arrow_table(rows: Sequence[Row], types: Mapping[str, str]) -> tuple[pa.Table, dict[int, str]]:
    """Return the rows as a table of the columns in `types` (name to portable type), and by index why a row
    was rejected: a value that doesn't fit its column's type, or would change there."""
    refused: dict[int, str] = {}
    columns = []
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        try:
            columns.append(_column(values, kind))
        except _UNFIT:
            refused = {**_refused(values, name, kind), **refused}
    if refused:
        kept = [row for at, row in enumerate(rows) if at not in refused]
        return arrow_table(kept, types)[0], refused
    return pa.Table.from_arrays(columns, names=list(types)), {}


def _column(values: Sequence[Any], kind: str) -> pa.Array[Any]:
    read = _reader(kind)
    made: pa.Array[Any] = pa.array(
        [None if value is None else read(value) for value in values], _arrow_type(kind)
    )
    return made


def _refused(values: Sequence[Any], name: str, kind: str) -> dict[int, str]:
    """Return by index why values don't fit a column type."""
    found = {}
    for at, value in enumerate(values):
        try:
            _column([value], kind)
        except _UNFIT:
            found[at] = f"field '{name}' is a {kind}, but its value is {str(value)[:80]!r}"
    return found


def as_text(value: Any) -> str:
    """Return a text as it is, and any other value as JSON, for a text column."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _arrow_type(kind: str) -> pa.DataType:
    if found := _DECIMAL.match(kind):
        return pa.decimal128(int(found[1]), int(found[2]))
    known: dict[str, pa.DataType] = {
        portable_types.BOOLEAN: pa.bool_(),
        portable_types.WHOLE: pa.int64(),
        portable_types.FLOAT: pa.float64(),
        portable_types.DATE: pa.date32(),
        portable_types.MOMENT: pa.timestamp("us", tz="UTC"),
    }
    return known.get(kind, pa.string())


def _reader(kind: str) -> Callable[[Any], Any]:
    """Return the function that converts a JSON value to a type."""
    if kind.startswith("decimal"):
        return lambda value: Decimal(str(value))
    known: dict[str, Callable[[Any], Any]] = {
        portable_types.BOOLEAN: _same,
        portable_types.WHOLE: _same,
        portable_types.FLOAT: _same,
        portable_types.DATE: lambda value: date.fromisoformat(value[:10]),
        portable_types.MOMENT: datetime.fromisoformat,
    }
    return known.get(kind, as_text)


def _same(value: Any) -> Any:
    return value
