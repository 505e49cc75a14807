"""Shared by analytics destinations: properties to set, set once and unset, and placeholder ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from revetl.destinations.base.records import Record, Records

UNSET = object()
"""The value of a field to unset, for `null: clear`."""

_NOBODY = frozenset(
    {"", "0", "-1", "[]", "{}", "anon", "anonymous", "false", "lmy47d", "n/a", "na", "nil", "<nil>", "none"}
    | {"null", "true", "undefined", "unknown", "00000000-0000-0000-0000-000000000000"}
)


class PropertyChanges(NamedTuple):
    """Properties to set, to set only if empty, and the names of properties to unset."""

    set: dict[str, Any]
    once: dict[str, Any]
    unset: list[str]


def changes(records: Records, record: Record, more: Mapping[str, Any]) -> PropertyChanges:
    """Return the property changes of a record, with `more` to be set."""
    given, kept = given_fields(record), records.set_if_empty
    return PropertyChanges(
        {**{name: value for name, value in given.items() if name not in kept}, **more},
        {name: value for name, value in given.items() if name in kept},
        [name for name in record.fields if name not in given],
    )


def given_fields(record: Record) -> dict[str, Any]:
    """Return the fields that have a value: events don't unset properties."""
    return {name: value for name, value in record.fields.items() if value is not UNSET}


def is_nobody(identifier: object) -> bool:
    """Whether an id is a placeholder such as 'null' or 'anonymous', which tools reject or drop."""
    return str(identifier).strip().lower() in _NOBODY
