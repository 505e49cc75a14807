"""What Pendo takes and says: fields, events, who is missing."""

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
"""Whom a new segment is made of, for Pendo makes none of nobody."""
LONGEST_AGO = timedelta(days=7)
CONTEXT = ("ip", "userAgent", "url", "title")
"""Fields of an event that are no properties of it."""

_KINDS = {
    **dict.fromkeys(("boolean", "bool"), BOOLEAN),
    **dict.fromkeys(("number", "integer", "int", "float"), NUMBER),
    **dict.fromkeys(("time", "date"), MOMENT),
    "string": TEXT,
}
_PROPERTY = re.compile("(?!__.*__$)[A-Za-z_][A-Za-z0-9_]{0,31}")
SHAPE = Shape(name=_PROPERTY, most_bytes=512, own=CONTEXT)
"""Of the properties of an event, which are scalars."""


def known(record: Record) -> str:
    """Whom Pendo knows a record's person as."""
    return str(record.identifiers["visitorId"])


def writable(schema: Mapping[str, Any], group: str) -> dict[str, str | None]:
    """The fields of a group of the metadata's schema, with the kinds of values that they take."""
    there = schema.get(group) or {}
    return {
        name: _KINDS.get(str(about.get("Type") or about.get("type")).lower())
        for name, about in there.items()
        if not about.get("isDeleted")
    }


def check_properties(names: Iterable[str]) -> None:
    """Raises Refused for the name of a property that Pendo would take and never show."""
    for name in names:
        if name not in CONTEXT and _PROPERTY.fullmatch(name) is None:
            raise Refused(
                f"Pendo does not show a property '{name}' of an event. Give it a name of at most 32 letters, "
                "digits and underscores that begins with no digit, nor begins and ends with two underscores."
            )


def event(records: Records, record: Record) -> dict[str, Any]:
    """A track event: its fields are its properties, but for those that are of its context."""
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
    """The visitors of an answer to metadata that are not there; only those can be refused one by one."""
    missing = {str(person) for person in said.get("missing") or []}
    return Result(
        {at: nobody("Pendo knows no such visitor") for at, each in enumerate(people) if each in missing}
    )
