"""What analytics tools share: properties that are set, set once and unset, and ids that are nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from revetl.destinations.base.records import Record, Records

UNSET = object()
"""In the place of a value, for `null: clear`."""

_NOBODY = frozenset(
    {"", "0", "-1", "[]", "{}", "anon", "anonymous", "false", "lmy47d", "n/a", "na", "nil", "<nil>", "none"}
    | {"null", "true", "undefined", "unknown", "00000000-0000-0000-0000-000000000000"}
)


class Changes(NamedTuple):
    """Properties to set, those to set where there is no value, and the names of those to unset."""

    set: dict[str, Any]
    once: dict[str, Any]
    unset: list[str]


def changes(records: Records, record: Record, more: Mapping[str, Any]) -> Changes:
    """What a record's fields change, with `more` to be set."""
    given, kept = given_fields(record), records.set_if_empty
    return Changes(
        {**{name: value for name, value in given.items() if name not in kept}, **more},
        {name: value for name, value in given.items() if name in kept},
        [name for name in record.fields if name not in given],
    )


def given_fields(record: Record) -> dict[str, Any]:
    """The fields that have a value: an event unsets nothing."""
    return {name: value for name, value in record.fields.items() if value is not UNSET}


def is_nobody(identifier: object) -> bool:
    """Whether an id is a word for none, such as 'null' or 'anonymous', which tools refuse or drop."""
    return str(identifier).strip().lower() in _NOBODY
