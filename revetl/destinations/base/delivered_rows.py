"""Records as self-describing rows, with their operation, change, run and event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from revetl.destinations.base.portable_types import MOMENT, TEXT
from revetl.destinations.base.records import Records, SyncContext

EXTRAS = {"operation": "_operation", "change_id": "_change_id", "run_id": "_sync_run_id", "at": "_at"}
"""Optional metadata of a row, with the column that holds it."""


def row_types(context: SyncContext, operation: str, include: Iterable[str]) -> dict[str, str]:
    """Return the columns of a batch's rows (or of no rows yet), with their portable types. Field types come
    from `context.fields` (name to type) if set, else from the fields present."""
    wanted = set(include)
    records = context.records if isinstance(context, Records) else ()
    extras = {column: MOMENT if name == "at" else TEXT for name, column in EXTRAS.items() if name in wanted}
    event = {"_event": TEXT, "_timestamp": MOMENT} if operation == "event" else {}
    fields = context.fields or dict.fromkeys((name for each in records for name in each.fields), TEXT)
    known = dict.fromkeys((name for each in records for name in each.identifiers), TEXT)
    return {**extras, **event, **known, **{name: kind for name, kind in fields.items() if name not in known}}


def rows_of(records: Records, operation: str) -> list[dict[str, Any]]:
    """Return one row per record."""
    return [
        {
            "_operation": operation,
            "_change_id": records.event_id(record),
            "_sync_run_id": records.run_id,
            "_at": records.at,
            "_event": records.event_of(record),
            "_timestamp": record.timestamp,
            **record.fields,
            **record.identifiers,
        }
        for record in records
    ]
