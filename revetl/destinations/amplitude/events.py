"""Amplitude's format of events and users, and the errors of rejected events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from revetl.destinations.base.destination import object_of
from revetl.destinations.base.properties import changes, given_fields
from revetl.destinations.base.records import Record, Records, Rejection
from revetl.destinations.base.timestamps import MILLISECONDS, since_epoch

_BY_FIELD = ("events_with_missing_fields", "events_with_invalid_fields", "events_with_invalid_id_lengths")
_OWN = {
    "$currency": "currency",
    "$price": "price",
    "$productId": "productId",
    "$quantity": "quantity",
    "$revenue": "revenue",
    "$revenueType": "revenueType",
}
"""Top-level event fields that event properties may also contain."""

_QUOTA = {"user_id": "exceeded_daily_quota_users", "device_id": "exceeded_daily_quota_devices"}


def known(record: Record) -> dict[str, str]:
    """Return the identifiers as text, as the API requires."""
    return {name: str(value) for name, value in record.identifiers.items()}


def properties(records: Records, record: Record) -> dict[str, Any]:
    """Return user properties: grouped by operation, unless all are plain sets."""
    changed = changes(records, record, {})
    if not changed.once and not changed.unset:
        return changed.set
    operations = {
        "$set": changed.set,
        "$setOnce": changed.once,
        "$unset": dict.fromkeys(changed.unset, "-"),
    }
    return {name: value for name, value in operations.items() if value}


def event(records: Records, record: Record) -> dict[str, Any]:
    """Return an event with the fields as its properties; without a timestamp, the time of arrival applies."""
    moment, given = record.timestamp, given_fields(record)
    return {
        **known(record),
        **{_OWN[name]: given.pop(name) for name in sorted(_OWN.keys() & given.keys())},
        "event_type": records.event_of(record),
        **({"time": since_epoch(moment, MILLISECONDS)} if moment is not None else {}),
        "event_properties": given,
        "insert_id": records.event_id(record),
    }


def names_events(said: Mapping[str, Any]) -> bool:
    """Whether a response names permanently rejected events."""
    return any(said.get(name) for name in (*_BY_FIELD, "silenced_events", *_QUOTA.values()))


def refused_events(answer: httpx.Response, events: Sequence[Mapping[str, Any]]) -> dict[int, str | Rejection]:
    """Return permanently rejected events, by index. None of the other events was accepted either."""
    said = object_of(answer)
    refused: dict[int, str | Rejection] = {
        at: Rejection(f"{said.get('error', 'refused')} ({field})", field)
        for name in _BY_FIELD
        for field, places in (said.get(name) or {}).items()
        for at in places
    }
    refused |= dict.fromkeys(said.get("silenced_events") or [], "its device is silenced in Amplitude")
    for name, quota in _QUOTA.items():
        over = said.get(quota) or {}
        places = [at for at, each in enumerate(events) if each.get(name) in over]
        refused |= dict.fromkeys(places, f"its {name} has reached Amplitude's daily event limit")
    return refused
