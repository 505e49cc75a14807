"""Checks mapped fields against the fields of a destination before the first record is sent."""

from __future__ import annotations

from collections.abc import Mapping

from revetl.destinations.base.flow import Refused
from revetl.errors import nearest

NUMBER, BOOLEAN, MOMENT, TEXT = "number", "boolean", "date or time", "text"
DATE, US_DATE, TIME = "date", "date (mm/dd/yyyy)", "time"
"""Date and time types. Any date or timestamp column fits: values.py converts the values."""

_KINDS = {
    NUMBER: ("int", "decimal", "numeric", "double", "float", "real", "bigint", "number", "hugeint"),
    BOOLEAN: ("bool",),
    MOMENT: ("date", "time"),
}


def check_fields(
    destination: str, fields: Mapping[str, str], there: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Return the types of mapped fields (name to the engine's type), checked against the existing fields
    (name to NUMBER, BOOLEAN, MOMENT and the like, TEXT, or None if it accepts anything; read-only fields are
    left out). Raises Refused for an unknown field or an incompatible type: text accepts everything, and
    values of unknown engine types pass."""
    for name, given in fields.items():
        if name not in there:
            raise Refused(f"{destination} has no writable field '{name}'. {nearest(name, there)}")
        wanted, kind = there[name], kind_of(given)
        broad = MOMENT if wanted in (DATE, US_DATE, TIME) else wanted
        if broad not in (None, TEXT, kind) and kind is not None:
            raise Refused(
                f"{destination}: field '{name}' requires a {wanted}, but the column is {given}. "
                f"Map a column of that type, or cast it in `fields`."
            )
    return {name: there[name] for name in fields}


def kind_of(engine_type: str) -> str | None:
    """Return the field type for an engine type; None if there is no match."""
    lower = engine_type.lower()
    for kind, words in _KINDS.items():
        if any(word in lower for word in words):
            return kind
    return TEXT if any(word in lower for word in ("char", "text", "string")) else None
