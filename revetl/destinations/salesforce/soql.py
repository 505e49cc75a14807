"""Salesforce queries (SOQL) for many records at once, and checks against an object's fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from revetl.destinations.base.destination import Asking, Refused
from revetl.destinations.base.field_check import (
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
    TEXT,
    TIME,
    check_fields,
)
from revetl.errors import nearest

Row = dict[str, Any]

_ADDRESS_BYTES = 8_000
"""Part of the 16,384 bytes allowed for a URL and its headers."""
KINDS = {
    **dict.fromkeys(("int", "long", "double", "currency", "percent"), NUMBER),
    "date": DATE,
    "datetime": MOMENT,
    "time": TIME,
    "boolean": BOOLEAN,
}


def literal(value: Any) -> str:
    """Format a value as a SOQL literal."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{text}'"


def same(value: Any) -> str:
    """Normalize a value like Salesforce: case and a trailing `.0` don't matter."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).casefold()


def select(fields: Iterable[str], kind: str, *conditions: str) -> str:
    """Build `SELECT fields FROM kind WHERE` with all conditions."""
    return " ".join(["SELECT", ",".join(fields), "FROM", kind, "WHERE", " AND ".join(conditions)])


def at(row: Mapping[str, Any], path: str) -> Any:
    """Return the value of a path like `Account.Name` in a row; None if there is no account."""
    found: Any = row
    for part in path.split("."):
        found = (found or {}).get(part)
    return found


def rows_by(
    call: Callable[..., httpx.Request],
    fields: Iterable[str],
    kind: str,
    by: str,
    values: Collection[Any],
    *conditions: str,
) -> Asking[dict[str, list[Row]]]:
    """Read the rows of an object where `by` is one of the values, indexed by the normalized value
    (`same`)."""
    asked = ("Id", by, *fields)
    found: dict[str, list[Row]] = defaultdict(list)
    for some in _fitting(values):
        text = select(dict.fromkeys(asked), kind, *conditions, f"{by} IN ({','.join(some)})")
        page = (yield call("GET", "query", asked={"q": text})).json()
        while True:
            for row in page["records"]:
                found[same(at(row, by))].append(row)
            if page["done"]:
                break
            page = (yield call("GET", str(page["nextRecordsUrl"]).split("/", 4)[4])).json()
    return found


def _fitting(values: Collection[Any]) -> Iterator[list[str]]:
    """Split the values, as literals, into lists that fit in a URL."""
    some: list[str] = []
    size = 0
    for each in map(literal, values):
        length = len(quote(each)) + 3
        if some and size + length > _ADDRESS_BYTES:
            yield some
            some, size = [], 0
        some.append(each)
        size += length
    yield some


def check_described(
    described: Mapping[str, Any], fields: Mapping[str, str], *, may: Collection[str], external_id: str | None
) -> dict[str, str | None]:
    """Return the types of mapped fields, checked against an object's description: one of `may` (`createable`,
    `updateable`) must be true for each field. Raises Refused, also if records can't be looked up by
    `external_id`."""
    name, there = str(described["name"]), {each["name"]: each for each in described["fields"]}
    if external_id is not None:
        field = there.get(external_id, {})
        if not (field.get("externalId") or field.get("idLookup")):
            known = [each for each, told in there.items() if told.get("externalId") or told.get("idLookup")]
            raise Refused(
                f"salesforce: '{external_id}' is not an external id of {name}. {nearest(external_id, known)} "
                "Set external_id_field to a field marked as External ID."
            )
    kinds: dict[str, str | None] = {
        each: KINDS.get(told["type"], TEXT)
        for each, told in there.items()
        if any(told.get(power) for power in may)
    }
    relations = {told.get("relationshipName") for told in there.values()}
    lookups = dict.fromkeys(each for each in fields if "." in each and each.partition(".")[0] in relations)
    return check_fields(f"salesforce: {name}", fields, {**kinds, **lookups})
