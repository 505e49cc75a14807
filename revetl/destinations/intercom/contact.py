"""Intercom's contacts: field formats, and matching of search results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from revetl.destinations.base.consent import towards_less
from revetl.destinations.base.destination import Record
from revetl.destinations.base.field_check import (
    BOOLEAN,
    MOMENT,
    NUMBER,
    TEXT,
)
from revetl.destinations.base.per_person import Field, Person

KINDS = {
    "string": TEXT,
    "integer": NUMBER,
    "float": NUMBER,
    "boolean": BOOLEAN,
    "date": MOMENT,
}
"""Value types by type of data attribute."""
PLAIN = ("name", "email", "phone", "avatar", "signed_up_at", "last_seen_at", "owner_id", "language_override")
LESS = {"unsubscribed_from_emails": (True,)}
OWN, MOMENTS = "custom_attributes.", "custom_moments."
"""Prefixes of custom field names. Custom moments are timestamps, stored as Unix time; in Intercom, they are
custom attributes too."""
EXISTS = re.compile(r"already exists with id=([0-9A-Za-z]+)")
TIMES = ("signed_up_at", "last_seen_at")


def contact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert fields to a contact's format."""
    body: dict[str, Any] = {}
    for name, value in towards_less(fields, LESS).items():
        if name.startswith((OWN, MOMENTS)):
            own = body.setdefault("custom_attributes", {})
            own[name.partition(".")[2]] = unix(value) if name.startswith(MOMENTS) else value
        else:
            body[name] = unix(value) if name in TIMES else value
    return body


def flat(person: Person) -> dict[str, Any]:
    """Return a contact with its custom fields at the top level, under their prefixed names."""
    own = person.get("custom_attributes") or {}
    return {**person, **{f"{prefix}{name}": own[name] for prefix in (OWN, MOMENTS) for name in own}}


def unix(value: Any) -> Any:
    """Convert a timestamp or date to Unix seconds; other values stay."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def sought(record: Record) -> dict[str, Any]:
    """Build the search query for a record's identifiers."""
    known = record.identifiers.items()
    each: list[dict[str, Any]] = [{"field": name, "operator": "=", "value": str(x)} for name, x in known]
    return each[0] if len(each) == 1 else {"operator": "OR", "value": each}


def same(found: list[dict[str, Any]], record: Record, role: str) -> list[Person]:
    """Return the search results that match a record, best match first: they share an identifier, and don't
    have a different id. Missing and blank values never match."""
    asked = {name: str(value) for name, value in record.identifiers.items()}
    known = asked.get("external_id")
    if known is not None:
        found = [each for each in found if each.get("external_id") in (None, "", known)]
    found = [each for each in found if any(_has(each, name, value) for name, value in asked.items())]
    return sorted(found, key=lambda each: (each.get("external_id") != known, each.get("role") != role))


def _has(contact: Mapping[str, Any], name: str, value: str) -> bool:
    held = str(contact.get(name) or "").strip()
    return bool(held) and held.casefold() == value.strip().casefold()


def is_tagged(person: Person, tag: str) -> bool:
    """Whether a contact is known to have a tag; responses only include the first ten tags."""
    return any(str(each["id"]) == tag for each in (person.get("tags") or {}).get("data") or ())


def attributes_of(described: Iterable[Mapping[str, Any]]) -> dict[str, Field]:
    """Return the writable custom fields, by every name that a sync may use."""
    return {
        name: Field(f"{MOMENTS if kind == MOMENT else OWN}{each['name']}", kind)
        for each in described
        if each.get("custom") and each.get("api_writable") and not each.get("archived")
        for kind in [KINDS.get(each["data_type"])]
        for name in (each["name"], f"{OWN}{each['name']}")
    }
