"""Converts values for typed fields, or rejects them with the field's name; never sends them unconverted.

The types are those of `field_check`, and a few narrower ones. An untyped field accepts anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from revetl.destinations.base.field_check import (
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
    US_DATE,
)
from revetl.destinations.base.records import Record, Rejection
from revetl.identifiers.countries import country_upper

BIRTHDAY, COUNTRY, GENDER = "birthday", "country", "gender"

_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_US_DAY = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/[0-9]{4}")
_MONTH_AND_DAY = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])")
_COUNTED = re.compile("[0-9]{9,13}")
_TRUE, _FALSE = frozenset({"true", "yes", "1", "t", "y"}), frozenset({"false", "no", "0", "f", "n"})
_GENDERS = {
    "F": {"f", "female", "woman", "girl", "frau", "weiblich", "femme", "mujer", "femenino", "w"},
    "M": {"m", "male", "man", "boy", "mann", "männlich", "homme", "hombre", "masculino"},
    "O": {"o", "other", "nonbinary", "diverse"},
    "N": {"n", "not applicable"},
    "P": {"p", "prefer not to say"},
}


class InvalidValue(ValueError):
    """A value cannot be converted to the type."""


def moment_in(value: Any) -> datetime:
    """Parse an ISO 8601 timestamp, or a date as midnight, in UTC. Raises Unfit."""
    if isinstance(value, str):
        try:
            given = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    raise InvalidValue


def _date(value: Any) -> str:
    """Convert to a date; a timestamp becomes its date in UTC."""
    return moment_in(value).strftime("%Y-%m-%d")


def _us_date(value: Any) -> str:
    if isinstance(value, str) and _US_DAY.fullmatch(value.strip()):
        return value.strip()
    return moment_in(value).strftime("%m/%d/%Y")


def _moment(value: Any) -> Any:
    """Convert to a timestamp; a date becomes midnight UTC. Numbers, in seconds or any other unit, stay."""
    if (isinstance(value, int | float) and not isinstance(value, bool)) or _COUNTED.fullmatch(str(value)):
        return value
    at = moment_in(value)
    return f"{value.strip()}T00:00:00Z" if _DAY.fullmatch(value.strip()) else _written(value, at)


def _written(value: str, at: datetime) -> str:
    """Return a timestamp unchanged if it has a time zone, else in UTC."""
    named = value.strip().endswith("Z") or datetime.fromisoformat(value.strip()).tzinfo is not None
    return value.strip() if named else at.isoformat().replace("+00:00", "Z")


def _number(value: Any) -> Any:
    """Convert to a number; numeric text stays text, since a float may lose precision."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    try:
        finite = isinstance(value, str) and Decimal(value.strip()).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise InvalidValue
    return value.strip()


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, bool | int | str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise InvalidValue


def _birthday(value: Any) -> str:
    """Convert to a month and day, MM/DD."""
    if isinstance(value, str) and (found := _MONTH_AND_DAY.fullmatch(value.strip())):
        return f"{int(found[1]):02}/{int(found[2]):02}"
    return moment_in(value).strftime("%m/%d")


def _gender(value: Any) -> str:
    word = str(value).strip().lower().replace("-", "")
    for letter, words in _GENDERS.items():
        if word in words:
            return letter
    raise InvalidValue


def _country(value: Any) -> str:
    found = country_upper(str(value), None)
    if found is None:
        raise InvalidValue
    return found


_CONVERTERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    DATE: ("a date", _date),
    US_DATE: ("a date", _us_date),
    MOMENT: ("a date or time", _moment),
    NUMBER: ("a number", _number),
    BOOLEAN: ("true or false", _boolean),
    BIRTHDAY: ("a month and a day", _birthday),
    GENDER: ("a gender", _gender),
    COUNTRY: ("a country", _country),
}
"""By type: what its fields accept, in words, and the converter."""


def converted(record: Record, kinds: Mapping[str, str | None], cleared: Any = None) -> Record | Rejection:
    """Return a record with its values converted to the fields' types, or its rejection if a value can't be
    converted. Empty values and the unset marker stay."""
    made: dict[str, Any] = {}
    for name, value in record.fields.items():
        kind = kinds.get(name)
        if kind is None or kind not in _CONVERTERS or value in (None, "") or value is cleared:
            continue
        words, converter = _CONVERTERS[kind]
        try:
            fitting = converter(value)
        except InvalidValue:
            shown = str(value)[:60]
            return Rejection(f"field '{name}' requires {words}, but got '{shown}'", field=name)
        if fitting != value or type(fitting) is not type(value):
            made[name] = fitting
    return record._replace(fields={**record.fields, **made}) if made else record
