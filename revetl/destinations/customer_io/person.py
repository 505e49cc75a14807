"""The data sent to Customer.io about a person, and what is left out: docs/destinations/customer_io.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from revetl.destinations.base.records import Record

KINDS = ("cio_id", "id", "email")
"""Identifiers by precedence; the first one that a record has is used."""
PREFERENCES = "cio_subscription_preferences"
NOT_ATTRIBUTES = frozenset({"merge_from"})
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def known_by(record: Record) -> tuple[str, str]:
    """Return the type and value of the identifier to use."""
    kind = next(kind for kind in KINDS if kind in record.identifiers)
    return kind, str(record.identifiers[kind])


def merged_from(kind: str, name: str, before: Any) -> dict[str, str]:
    """Return the previous identifier of a person now known as `name`: an email if it looks like one and ids
    aren't emails, else the same type."""
    is_address = "@" in str(before) and not (kind == "id" and "@" in name)
    return {"email" if is_address else "id" if kind == "email" else kind: str(before)}


def attributes_of(record: Record) -> dict[str, Any]:
    """Return the attributes of a person: other identifiers and the fields, without anything that would
    subscribe them."""
    kind, _ = known_by(record)
    others = {name: value for name, value in record.identifiers.items() if name not in (kind, "cio_id")}
    fields = {name: value for name, value in record.fields.items() if name not in NOT_ATTRIBUTES}
    if "created_at" in fields:
        fields["created_at"] = seconds(fields["created_at"])
    if fields.pop("unsubscribed", None) in (True, "true", 1):
        fields["unsubscribed"] = True
    for name in [name for name in fields if name.split(".")[0] == PREFERENCES]:
        left = _less(fields.pop(name))
        if left is not None:
            fields[name] = left
    return {**others, **fields}


def _less(preference: Any) -> Any:
    """Keep only the unsubscribing parts of a preference: false, and objects of false. None if there are
    none."""
    if isinstance(preference, Mapping):
        left = {name: _less(value) for name, value in preference.items()}
        return {name: value for name, value in left.items() if value is not None} or None
    return False if preference in (False, "false") else None


def seconds(moment: Any) -> Any:
    """Convert an ISO 8601 timestamp to seconds since 1970, Customer.io's format; other values stay."""
    if not isinstance(moment, str):
        return moment
    try:
        told = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return int((told if told.tzinfo else datetime.fromisoformat(f"{told.isoformat()}+00:00")).timestamp())


def event_id(change_id: str, moment: str | None) -> str:
    """Return a ULID for a change, which deduplicates events: 48 bits of its timestamp, if it has one, and
    bits of the change id."""
    bits = int(change_id[:32], 16)
    if isinstance(at := seconds(moment), int):
        bits = (at * 1_000 << 80) | (bits & ((1 << 80) - 1))
    return "".join(_CROCKFORD[(bits >> 5 * place) & 31] for place in reversed(range(26)))
