"""What Customer.io is told of a person, and what it is not: docs/destinations/customer_io.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from revetl.destinations.base.records import Record

KINDS = ("cio_id", "id", "email")
"""What a person is known by; the first that a record has is what they are looked for by."""
PREFERENCES = "cio_subscription_preferences"
NOT_ATTRIBUTES = frozenset({"merge_from"})
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def known_by(record: Record) -> tuple[str, str]:
    """The kind of the identifier that somebody is looked for by, and its value."""
    kind = next(kind for kind in KINDS if kind in record.identifiers)
    return kind, str(record.identifiers[kind])


def merged_from(kind: str, name: str, before: Any) -> dict[str, str]:
    """What somebody was known by before, who is known as `name` now: an address where it is one and ids are
    not addresses, else of the same kind."""
    is_address = "@" in str(before) and not (kind == "id" and "@" in name)
    return {"email" if is_address else "id" if kind == "email" else kind: str(before)}


def attributes_of(record: Record) -> dict[str, Any]:
    """The attributes of a person: their other identifiers, and the fields, but for whatever would subscribe
    them."""
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
    """What of a preference is towards less: false, and objects of it. None where nothing is."""
    if isinstance(preference, Mapping):
        left = {name: _less(value) for name, value in preference.items()}
        return {name: value for name, value in left.items() if value is not None} or None
    return False if preference in (False, "false") else None


def seconds(moment: Any) -> Any:
    """A moment of ISO 8601 as seconds since 1970, which is how Customer.io has them; else what it is."""
    if not isinstance(moment, str):
        return moment
    try:
        told = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return int((told if told.tzinfo else datetime.fromisoformat(f"{told.isoformat()}+00:00")).timestamp())


def event_id(change_id: str, moment: str | None) -> str:
    """A ULID of a change, by which doubles of an event are dropped: 48 bits of its moment, where it has one,
    and bits of the change's own id."""
    bits = int(change_id[:32], 16)
    if isinstance(at := seconds(moment), int):
        bits = (at * 1_000 << 80) | (bits & ((1 << 80) - 1))
    return "".join(_CROCKFORD[(bits >> 5 * place) & 31] for place in reversed(range(26)))
