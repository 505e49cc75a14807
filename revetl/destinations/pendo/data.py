"""Pendo's data formats: fields, events, missing visitors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from revetl.destinations.base.destination import Refused
from revetl.destinations.base.field_check import (
    BOOLEAN,
    MOMENT,
    NUMBER,
    TEXT,
)
from revetl.destinations.base.properties import given_fields
from revetl.destinations.base.records import (
    Record,
    Records,
    Result,
    nobody,
)
from revetl.destinations.base.shapes import Shape
from revetl.destinations.base.timestamps import MILLISECONDS, since_epoch

PLACEHOLDER = "revetl-nobody"
"""The placeholder member of a new segment, since Pendo doesn't create empty segments."""
LONGEST_AGO = timedelta(days=7)
CONTEXT = ("ip", "userAgent", "url", "title")
"""Event fields that aren't properties."""

_KINDS = {
    **dict.fromkeys(("boolean", "bool"), BOOLEAN),
    **dict.fromkeys(("number", "integer", "int", "float"), NUMBER),
    **dict.fromkeys(("time", "date"), MOMENT),
    "string": TEXT,
}
_PROPERTY = re.compile("(?!__.*__$)[A-Za-z_][A-Za-z0-9_]{0,31}")
SHAPE = Shape(name=_PROPERTY, most_bytes=512, own=CONTEXT)
"""The shape of event properties, which are scalars."""


def known(record: Record) -> str:
    """Return Pendo's id of a record's person."""
    return str(record.identifiers["visitorId"])


def writable(schema: Mapping[str, Any], group: str) -> dict[str, str | None]:
    """Return the fields of a group in the metadata schema, with their value types."""
    there = schema.get(group) or {}
    return {
        name: _KINDS.get(str(about.get("Type") or about.get("type")).lower())
        for name, about in there.items()
        if not about.get("isDeleted")
    }


def check_properties(names: Iterable[str]) -> None:
    """Raises Refused for a property name that Pendo accepts but never shows."""
    for name in names:
        if name not in CONTEXT and _PROPERTY.fullmatch(name) is None:
            raise Refused(
                f"Pendo does not show an event property named '{name}'. Rename it to at most 32 letters, "
                "digits and underscores, without a leading digit or double underscores at both ends."
            )


def event(records: Records, record: Record) -> dict[str, Any]:
    """Return a track event: fields are properties, except its context fields."""
    fields = given_fields(record)
    account = record.identifiers.get("accountId")
    return {
        "type": "track",
        "event": records.event_of(record),
        "visitorId": known(record),
        **({} if account is None else {"accountId": str(account)}),
        "timestamp": since_epoch(str(record.timestamp or records.at), MILLISECONDS),
        "properties": {name: value for name, value in fields.items() if name not in CONTEXT},
        "context": {name: fields[name] for name in CONTEXT if fields.get(name) is not None},
    }


def refused(said: Mapping[str, Any], people: Sequence[str]) -> Result:
    """Return the missing visitors in a metadata response; other rejections don't identify visitors."""
    missing = {str(person) for person in said.get("missing") or []}
    return Result(
        {at: nobody("Pendo has no such visitor") for at, each in enumerate(people) if each in missing}
    )
