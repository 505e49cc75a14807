"""Convert spooled rows to the records that are sent to a destination."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from revetl.config.models import SyncConfig
from revetl.delivery.function_step import Own, function_of
from revetl.destinations.base.destination import Destination, Identifier, Record
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.governance.pii import Hider, hider_of
from revetl.mapping.blocklist import is_blank, none_of
from revetl.mapping.events import ROW, EventMapping, event_mapping_of
from revetl.mapping.fields import TIMESTAMP
from revetl.mapping.personal_data import folded, without_personal
from revetl.project.workspace import Sync
from revetl.warehouse.base import NONFINITE

_LONG_NUMBER = re.compile(r"[0-9]{16}|[0-9]\.[0-9]{15}")
"""Matches numbers that a 64-bit float may not represent."""
_LOOKED_AT = f"{_LONG_NUMBER.pattern}|{re.escape(NONFINITE)}"
"""Matches documents that must be parsed individually."""
_READ_ROWS = 1_000
"""The number of documents parsed at once: as Python objects they take ten times the memory of their text."""


@dataclass(frozen=True)
class Serializer:
    """The rules by which a sync builds its records: nulls, the fields of archived records, the destination's
    identifiers by name, event names, and the user function. If personal data is withheld, `allowed` has the
    names that are sent anyway, and `withheld` collects the names that were not."""

    nulls: str = "send"
    cleared: Any = None
    archive: Mapping[str, Any] | None = None
    known_by: Mapping[str, Identifier] = field(default_factory=dict)
    events: EventMapping | None = None
    function: Own | None = None
    allowed: frozenset[str] | None = None
    withheld: set[str] = field(default_factory=set)

    def identifiers(self, known: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the identifiers to send, without null, blank and placeholder values."""
        for value in known.values():
            if is_blank(value):
                return {name: value for name, value in known.items() if not is_blank(value)}
        return known

    def given(self, known: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Return the identifiers of a function without placeholder values, and the names of those removed."""
        found, invalid = {}, []
        for name, value in self.identifiers(known).items():
            if (wrong := none_of(value, self.known_by.get(name))) is None:
                found[name] = value
            else:
                invalid.append(f"{name} {wrong}")
        return found, "; ".join(invalid) or None

    def sends_as_is(self, operation: str) -> bool:
        """Whether the fields of every record are sent unchanged."""
        is_replaced = operation == "remove" and self.archive
        return self.allowed is None and self.nulls == "send" and not is_replaced

    def fields(self, operation: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields to send."""
        if self.allowed is not None:
            fields = without_personal(fields, self.allowed, self.withheld)
        if operation == "remove" and self.archive:
            return self.archive
        if self.nulls == "skip":
            return {name: value for name, value in fields.items() if value is not None}
        if self.nulls == "clear" and self.cleared is not None:
            return {name: self.cleared if value is None else value for name, value in fields.items()}
        return fields


def shaping_of(sync: SyncConfig, destination: Destination, hider: Hider | None = None) -> Serializer:
    """Return the serializer of a sync, without its function; `hider` has the PII rules."""
    events = event_mapping_of(sync, destination.type, None if hider is None else hider.value)
    return Serializer(
        sync.nulls,
        destination.cleared,
        sync.archive or None,
        {each.name: each for each in destination.known_by},
        events,
        allowed=_allowed(sync, destination),
    )


def _allowed(sync: SyncConfig, destination: Destination) -> frozenset[str] | None:
    """Return the names of personal data that may be sent; None if personal data is not detected."""
    if not isinstance(destination, WithholdsPersonalData) or not destination.withholds(sync.mode):
        return None
    named: list[str] = []
    if destination.named_is_allowed:
        rules = sync.events.values()
        named = [*(sync.fields or {}), *sync.constants]
        named += [name for rule in rules for name in (*rule.fields, *rule.constants)]
    return frozenset(folded(name) for name in (*destination.allow_personal_data, *named))


def withheld_note(shaping: Serializer, destination: Destination) -> str | None:
    """Return the note about withheld personal data; None if nothing was withheld."""
    if not shaping.withheld:
        return None
    names = ", ".join(sorted(shaping.withheld))
    return (
        f"not sent to {destination.type}, because the name or value looks like personal data: {names}. "
        "To send one, add it to allow_personal_data of the destination"
    )


def shaping_in(root: Path, sync: Sync, destination: Destination) -> Serializer:
    """Return the serializer of a sync in a project. Raises UsageError for an invalid function."""
    shaping = shaping_of(sync.config, destination, hider_of(root, sync.config.to))
    return replace(shaping, function=function_of(root, sync, destination))


def record_of(
    shaping: Serializer,
    operation: str,
    key: str,
    identifiers: str,
    fields: str,
    origin: str,
    invalid: str | None = None,
) -> Record:
    """Build a record from its spooled texts. `invalid` has its invalid identifiers."""
    try:
        known: dict[str, Any] = orjson.loads(identifiers)
        values: dict[str, Any] = orjson.loads(fields)
        if _LONG_NUMBER.search(fields):
            values = json.loads(fields, parse_int=_integer, parse_float=_fraction)
    except orjson.JSONDecodeError as error:
        # JSON columns may contain invalid JSON: half of a surrogate pair, bare NaN.
        return Record(key, {}, {}, origin, problem=_unreadable((identifiers, fields), error))
    problem = _nonfinite(values) if NONFINITE in fields else None
    moment, event = values.pop(TIMESTAMP, None), None
    if (events := shaping.events) is not None:
        row = {name.removeprefix(ROW): values.pop(name) for name in [*values] if name.startswith(ROW)}
        event, values = events.made(row, values)
        problem = problem or (None if event else f"its column '{events.column}' has no event name")
    alike = shaping.identifiers(known)
    if shaping.function is None or problem is not None:
        made = shaping.fields(operation, values)
        return Record(key, alike, made, origin, moment, problem, event, invalid=invalid)
    record = shaping.function(
        Record(key, alike, values, origin, moment, problem, event, invalid=invalid), operation
    )
    if record.instead is not None:
        return record._replace(instead=tuple(_of_function(shaping, operation, x) for x in record.instead))
    return _of_function(shaping, operation, record)


def _of_function(shaping: Serializer, operation: str, record: Record) -> Record:
    """Prepare a record returned by a function for sending."""
    known, invalid = shaping.given(record.identifiers)
    return record._replace(
        identifiers=known, fields=shaping.fields(operation, record.fields), invalid=invalid or record.invalid
    )


def _integer(digits: str) -> int | str:
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else digits


def _fraction(digits: str) -> float | str:
    """Parse a number; return it as text if a 64-bit float would round it."""
    number = float(digits)
    return number if Decimal(repr(number)) == Decimal(digits) else digits


def _nonfinite(values: dict[str, Any]) -> str | None:
    for name, value in values.items():
        if (word := _mark_in(value)) is not None:
            kind = "date" if word in ("infinity", "-infinity") else "number"
            return f"field '{name}' is {word}, which is not a valid JSON {kind}"
    return None


def _mark_in(value: Any) -> str | None:
    """Return the first value, at any depth, that JSON cannot represent."""
    if isinstance(value, dict) and NONFINITE in value:
        return str(value[NONFINITE])
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(_mark_in, inner)), None)


def _unreadable(texts: tuple[str, str], error: Exception) -> str:
    """Describe the field that cannot be sent; Python's parser accepts more than JSON allows."""
    for kind, text in zip(("identifier", "field"), texts, strict=True):
        try:
            values = json.loads(text)
        except json.JSONDecodeError:
            break
        for name, value in values.items():
            try:
                orjson.loads(json.dumps(value))
            except orjson.JSONDecodeError as found:
                return f"{kind} '{name}' cannot be sent as JSON ({found})"
    return f"a value in it cannot be sent as JSON ({error})"


def records_of(batch: pa.RecordBatch, shaping: Serializer, operation: str) -> Iterator[Record]:
    """Yield the records of a spooled batch, in order."""
    for first in range(0, batch.num_rows, _READ_ROWS):
        yield from _read_at_once(batch.slice(first, _READ_ROWS), shaping, operation)


def _read_at_once(batch: pa.RecordBatch, shaping: Serializer, operation: str) -> Iterable[Record]:
    """Build the records of some rows like `record_of`, but parse ordinary documents all at once."""
    columns: list[list[Any]] = [
        batch.column(name).to_pylist() for name in ("key", "identifiers", "fields", "origin", "invalid")
    ]
    known, values = _documents(columns[1]), _documents(columns[2])
    if known is None or values is None or shaping.events is not None or shaping.function is not None:
        return (record_of(shaping, operation, *texts) for texts in zip(*columns, strict=True))
    import pyarrow.compute as pc

    matched: Any = pc.match_substring_regex(batch.column("fields"), pattern=_LOOKED_AT)
    by_itself = {place for place, is_matched in enumerate(matched.to_pylist()) if is_matched}
    keys, _, _, origins, invalids = columns
    moments = [fields.pop(TIMESTAMP, None) for fields in values]
    alike = map(shaping.identifiers, known)
    made: Sequence[Mapping[str, Any]] = values
    if not shaping.sends_as_is(operation):
        made = [shaping.fields(operation, each) for each in values]
    nothing = repeat(None)
    whole = zip(keys, alike, made, origins, moments, nothing, nothing, repeat(0), nothing, nothing, invalids)
    records = [*map(Record._make, whole)]
    for place in by_itself:
        records[place] = record_of(shaping, operation, *(column[place] for column in columns))
    return records


def _documents(texts: Sequence[str | None]) -> list[dict[str, Any]] | None:
    """Parse JSON objects; return None if any is invalid."""
    try:
        read: list[dict[str, Any]] = orjson.loads(f"[{','.join(texts)}]")  # type: ignore[arg-type]
    except (TypeError, orjson.JSONDecodeError):
        return None
    return read if len(read) == len(texts) else None
