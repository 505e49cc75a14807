"""SendGrid's format of contacts, and their names in errors: docs/destinations/sendgrid.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import orjson

from revetl.config.amounts import finite, plain
from revetl.destinations.base.records import Record

T = TypeVar("T")

RESERVED = frozenset({"first_name", "last_name", "alternate_emails", "phone_number", "whatsapp", "line"}) | {
    *("address_line_1", "address_line_2", "city", "state_province_region", "postal_code", "country"),
    *("facebook", "unique_name"),
}
KNOWN_BY = ("email", "phone_number_id", "external_id", "anonymous_id")

Contact = Mapping[str, Any]


def contact_of(record: Record, fields: Mapping[str, Any]) -> Contact:
    """Return a contact: identifiers, reserved fields, and custom fields by id. Fields without a value are
    left out, since SendGrid rejects null."""
    values = {name: value_of(name, value) for name, value in fields.items()}
    given = {name: value for name, value in values.items() if value is not None}
    own = {name: value for name, value in given.items() if name not in (*RESERVED, *KNOWN_BY)}
    others = {name: value for name, value in given.items() if name not in own}
    return {**others, **record.identifiers, **({"custom_fields": own} if own else {})}


def value_of(name: str, value: Any) -> Any:
    """Convert a value for its field, whose type is the suffix of its id; None if not possible."""
    if name.endswith(("_N", "_D")) and value == "":
        return None
    if name.endswith("_D") and (day := re.match(r"(\d{4})-(\d\d)-(\d\d)", str(value))):
        return f"{day[2]}/{day[3]}/{day[1]}"
    if name.endswith("_N"):
        return number_of(value)
    if isinstance(value, bool | dict) or (isinstance(value, list) and name not in RESERVED):
        return orjson.dumps(value).decode()
    is_text = name in RESERVED or name.endswith("_T")
    return str(value) if is_text and isinstance(value, int | float) else value


def number_of(value: Any) -> Any:
    """Convert a boolean or text to a number, if possible."""
    number = finite(value)
    return value if number is None else plain(number)


def named_in(told: Iterable[str], contacts: Mapping[int, Contact]) -> dict[int, str]:
    """Return why contacts were rejected, by position, from lines that contain one of their identifiers."""
    places = {
        str(value).lower(): at
        for at, contact in contacts.items()
        for name, value in contact.items()
        if name in KNOWN_BY
    }
    named: dict[int, str] = {}
    for line in told:
        words = (word.strip("'\"()[]<>.:") for word in re.split(r'[\s",;]+', line.lower()))
        named |= {places[word]: line[:200] for word in words if word in places}
    return named


def pieces(of: list[T], size: int) -> Iterator[list[T]]:
    """Split a list into parts of a maximum size."""
    return (of[at : at + size] for at in range(0, len(of), size))
