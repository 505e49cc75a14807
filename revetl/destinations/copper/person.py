"""Conversion between Copper's format of a person and flat field names: docs/destinations/copper.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from revetl.destinations.base.field_check import (
    BOOLEAN,
    NUMBER,
    TEXT,
    US_DATE,
)
from revetl.destinations.base.per_person import Person

KINDS = {
    **dict.fromkeys(("Float", "Currency", "Percentage"), NUMBER),
    **dict.fromkeys(("String", "Text", "URL"), TEXT),
    "Checkbox": BOOLEAN,
    "Date": US_DATE,
}
LISTS = {"email": ("emails", "email"), "phone": ("phone_numbers", "number")}
ADDRESS = ("street", "city", "state", "postal_code", "country")
PLAIN = ("name", "title", "details", "assignee_id", "contact_type_id", "company_id")


def flat(person: Mapping[str, Any]) -> Person:
    """Return a person with flat field names: contact details, the address, and custom fields by id."""
    own = {
        str(each["custom_field_definition_id"]): each["value"] for each in person.get("custom_fields") or ()
    }
    return {
        **person,
        **{n: person.get(there) for n, (there, _) in LISTS.items()},
        **(person.get("address") or {}),
        **own,
    }


def body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert fields to a person's format; fields unknown to Copper are custom fields."""
    made: dict[str, Any] = {name: value for name, value in fields.items() if name in (*PLAIN, "tags")}
    for name, (there, key) in LISTS.items():
        if name in fields:
            value = fields[name]
            made[there] = [] if value is None else [{key: value, "category": "work"}]
    if address := {name: fields[name] for name in ADDRESS if name in fields}:
        made["address"] = address
    known = {*PLAIN, *LISTS, *ADDRESS, "tags"}
    # Plans don't look up ids, and show the field names instead.
    own = [
        {"custom_field_definition_id": int(name) if name.isdecimal() else name, "value": value}
        for name, value in fields.items()
        if name not in known
    ]
    return {**made, "custom_fields": own} if own else made
