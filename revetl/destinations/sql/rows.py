"""Converts records to rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from revetl.destinations.base.portable_types import MOMENT, TEXT
from revetl.destinations.base.records import Records

EVENT = {"message_id": TEXT, "event": TEXT, "timestamp": MOMENT}
"""The columns of an event besides the person; the first is its key."""

Rows = dict[tuple[str, ...], list[list[Any]]]


def rows_by_columns(records: Records, more: Mapping[str, Any]) -> Rows:
    """Group the rows of a batch, adding `more` values to each, by their columns: columns a row doesn't have
    stay unchanged."""
    found: Rows = {}
    for record in records:
        row = {**record.fields, **record.identifiers, **more}
        found.setdefault(tuple(row), []).append(list(row.values()))
    return found


def keys_of(records: Records) -> Records:
    """Return the records with only their key."""
    return replace(records, records=tuple(record._replace(fields={}) for record in records))


def events_of(records: Records) -> Records:
    """Return the records with the columns of an event among their fields."""
    return replace(
        records,
        records=tuple(
            record._replace(
                fields={
                    **record.fields,
                    "message_id": records.event_id(record),
                    "event": records.event_of(record),
                    "timestamp": record.timestamp,
                }
            )
            for record in records
        ),
    )
