"""Fields of a destination against what is mapped onto them, before the first record is sent."""

from __future__ import annotations

from collections.abc import Mapping

from revetl.destinations.base.flow import Refused
from revetl.errors import nearest

NUMBER, BOOLEAN, MOMENT, TEXT = "number", "boolean", "date or time", "text"
DATE, US_DATE, TIME = "date", "date (mm/dd/yyyy)", "time"
"""What a date or a moment may have to be. A column of either will do: values.py converts values."""

_KINDS = {
    NUMBER: ("int", "decimal", "numeric", "double", "float", "real", "bigint", "number", "hugeint"),
    BOOLEAN: ("bool",),
    MOMENT: ("date", "time"),
}


def check_fields(
    destination: str, fields: Mapping[str, str], there: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The kinds of mapped fields (name to the engine's type), compared with those that are there (name to
    NUMBER, BOOLEAN, MOMENT and the like, TEXT, or None for one that takes anything; a field that cannot be
    written is left out of it). Raises Refused for a field that is not there, and for a type that it does not
    take: text takes all, and a value whose type the engine does not tell goes through."""
    for name, given in fields.items():
        if name not in there:
            raise Refused(f"{destination} has no field '{name}' to write. {nearest(name, there)}")
        wanted, kind = there[name], kind_of(given)
        broad = MOMENT if wanted in (DATE, US_DATE, TIME) else wanted
        if broad not in (None, TEXT, kind) and kind is not None:
            raise Refused(
                f"{destination}: field '{name}' takes a {wanted}, and is given {given}. "
                f"Map a column of that type, or cast it in `fields`."
            )
    return {name: there[name] for name in fields}


def kind_of(engine_type: str) -> str | None:
    """The kind of an engine's type; None where it is of no such."""
    lower = engine_type.lower()
    for kind, words in _KINDS.items():
        if any(word in lower for word in words):
            return kind
    return TEXT if any(word in lower for word in ("char", "text", "string")) else None
