"""Records as self-describing rows, with their operation, change, run and event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from revetl.destinations.base.portable_types import MOMENT, TEXT
from revetl.destinations.base.records import Records

EXTRAS = {"operation": "_operation", "change_id": "_change_id", "run_id": "_sync_run_id", "at": "_at"}
"""Optional metadata of a row, with the column that holds it."""


def row_types(records: Records, operation: str, include: Iterable[str]) -> dict[str, str]:
    """Return the columns of a batch's rows, with their portable types. Field types come from
    `records.fields` (name to type) if set, else from the fields present."""
    wanted = set(include)
    extras = {column: MOMENT if name == "at" else TEXT for name, column in EXTRAS.items() if name in wanted}
    event = {"_event": TEXT, "_timestamp": MOMENT} if operation == "event" else {}
    fields = records.fields or dict.fromkeys((name for each in records for name in each.fields), TEXT)
    known = dict.fromkeys((name for each in records for name in each.identifiers), TEXT)
    return {**extras, **event, **known, **{name: kind for name, kind in fields.items() if name not in known}}


def rows_of(records: Records, operation: str) -> list[dict[str, Any]]:
    """Return one row per record."""
    return [
        {
            "_operation": operation,
            "_change_id": records.change_id(record),
            "_sync_run_id": records.run_id,
            "_at": records.at,
            "_event": records.event_of(record),
            "_timestamp": record.timestamp,
            **record.fields,
            **record.identifiers,
        }
        for record in records
    ]
