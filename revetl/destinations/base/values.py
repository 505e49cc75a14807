"""Values as a typed field takes them: converted, or refused by the field's name, and never sent as they are.

The kinds are those of `metadata`, and a few that are narrower. A field without a kind takes anything.
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


class Unfit(ValueError):
    """A value is not of the kind."""


def moment_in(value: Any) -> datetime:
    """A moment of ISO 8601, or a day as its midnight, in UTC. Raises Unfit."""
    if isinstance(value, str):
        try:
            given = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    raise Unfit


def _date(value: Any) -> str:
    """A day; of a moment, the day that it is in UTC."""
    return moment_in(value).strftime("%Y-%m-%d")


def _us_date(value: Any) -> str:
    if isinstance(value, str) and _US_DAY.fullmatch(value.strip()):
        return value.strip()
    return moment_in(value).strftime("%m/%d/%Y")


def _moment(value: Any) -> Any:
    """A moment; of a day, its midnight in UTC. A number, of seconds or whatever the tool counts, stays."""
    if (isinstance(value, int | float) and not isinstance(value, bool)) or _COUNTED.fullmatch(str(value)):
        return value
    at = moment_in(value)
    return f"{value.strip()}T00:00:00Z" if _DAY.fullmatch(value.strip()) else _written(value, at)


def _written(value: str, at: datetime) -> str:
    """A moment as it was written, where that has a zone."""
    named = value.strip().endswith("Z") or datetime.fromisoformat(value.strip()).tzinfo is not None
    return value.strip() if named else at.isoformat().replace("+00:00", "Z")


def _number(value: Any) -> Any:
    """A number; a text that is one stays a text, for no float may hold it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    try:
        finite = isinstance(value, str) and Decimal(value.strip()).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise Unfit
    return value.strip()


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, bool | int | str) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise Unfit


def _birthday(value: Any) -> str:
    """A month and a day, MM/DD."""
    if isinstance(value, str) and (found := _MONTH_AND_DAY.fullmatch(value.strip())):
        return f"{int(found[1]):02}/{int(found[2]):02}"
    return moment_in(value).strftime("%m/%d")


def _gender(value: Any) -> str:
    word = str(value).strip().lower().replace("-", "")
    for letter, words in _GENDERS.items():
        if word in words:
            return letter
    raise Unfit


def _country(value: Any) -> str:
    found = country_upper(str(value), None)
    if found is None:
        raise Unfit
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
"""By kind, what a field of it takes in words, and what makes a value so."""


def converted(record: Record, kinds: Mapping[str, str | None], cleared: Any = None) -> Record | Rejection:
    """A record with its fields as the fields of these kinds take them; why it cannot be sent where one does
    not fit. Empty values, and what clears a field, stay."""
    made: dict[str, Any] = {}
    for name, value in record.fields.items():
        kind = kinds.get(name)
        if kind is None or kind not in _CONVERTERS or value in (None, "") or value is cleared:
            continue
        words, converter = _CONVERTERS[kind]
        try:
            fitting = converter(value)
        except Unfit:
            shown = str(value)[:60]
            return Rejection(f"field '{name}' takes {words}, and '{shown}' is not", field=name)
        if fitting != value or type(fitting) is not type(value):
            made[name] = fitting
    return record._replace(fields={**record.fields, **made}) if made else record
