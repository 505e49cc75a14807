"""Computed traits by another hand: what docs/how-to/traits.md says, in pandas, of messages as they were sent.

It reads the same declarations, and nothing of the models. Numbers are exact: fractions until the last
rounding, which is half away from zero; but means are of double precision, as pandas has them. Times are UTC
without a zone. What is null is None.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import pandas as pd

Declaration = Mapping[str, Any]
Document = Mapping[str, Any]
_Moment = tuple[datetime, str]

NOTHING: dict[str, Any] = {
    "count": 0,
    "sum": Decimal(0),
    "unique_list_count": 0,
    "has_done": False,
    "funnel": 0,
}
"""What a trait is of who has no such event; for the other types, None."""

_OF_EVENTS = {"count", "first_at", "last_at", "days_since", "days_between", "has_done"}
_TYPES = {"count": "bigint", "unique_list_count": "bigint", "days_since": "bigint", "funnel": "bigint"}
_TYPES |= dict.fromkeys(("sum", "avg", "min", "max", "percentile"), "decimal(18, 4)")
_TYPES |= {
    "first_at": "timestamp",
    "last_at": "timestamp",
    "days_between": "decimal(18, 2)",
    "has_done": "boolean",
}
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
_UNITS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400}


def messages(lines: Iterable[str], now: datetime) -> pd.DataFrame:
    """One row a track, page and screen message up to now, a message id once, in the order of time and id."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        sent = json.loads(line, parse_float=Decimal)
        if sent["type"] not in ("track", "page", "screen"):
            continue
        row = {
            "source": sent["type"],
            "message_id": sent["messageId"],
            "timestamp": moment(sent["timestamp"]),
            "event": sent.get("event", sent.get("name")),
            "person": sent.get("userId") or sent["anonymousId"],
            "properties": sent.get("properties") or {},
            "context": sent.get("context") or {},
        }
        found.setdefault((row["source"], row["message_id"]), row)
    rows = sorted(
        (row for row in found.values() if row["timestamp"] <= now),
        key=lambda row: (row["timestamp"], row["message_id"]),
    )
    columns = ["source", "message_id", "timestamp", "event", "person", "properties", "context"]
    # As objects they stay Python's: exact, and a null is None.
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})


def event_trait(events: pd.DataFrame, declared: Declaration, now: datetime) -> dict[Any, Any]:
    """A trait of events: person to value, of those who have such an event."""
    kind = declared["type"]
    seen = events[[_in_window(at, declared.get("window"), now) for at in events["timestamp"]]]
    if kind == "funnel":
        return _funnels(seen, declared, now)
    rows = read(seen, declared, now)
    theirs = rows.groupby("person", sort=False)[["timestamp", "value"]].agg(list)
    data_type = declared.get("data_type", _TYPES.get(kind, "varchar"))
    return {
        person: as_type(_value(kind, times, values, declared, now), data_type)
        for person, times, values in theirs.itertuples()
    }


def with_nothing(value: Any, declared: Declaration) -> Any:
    """What is shown: the value, or what the trait is of who has nothing."""
    if value is not None:
        return value
    data_type = declared.get("data_type", _TYPES.get(declared["type"], "varchar"))
    return as_type(declared.get("default", NOTHING.get(declared["type"])), data_type)


def read(events: pd.DataFrame, declared: Declaration, now: datetime) -> pd.DataFrame:
    """The events (or elements of their arrays) that a declaration names and its conditions hold for, with the
    column `value`."""
    names = declared.get("event")
    names = [names] if isinstance(names, str) else names
    there = events["source"] == declared.get("source", "track")
    if names is not None:
        there &= events["event"].isin(names)
    rows = events[there]
    array, _ = _split(declared.get("property", ""))
    if array:
        rows = rows.assign(element=[_elements(_at(each, array)) for each in rows["properties"]])
        rows = rows.explode("element")
        rows = rows[rows["element"].notna()]
    else:
        rows = rows.assign(element=None)
    conditions = declared.get("where", [])
    conditions = conditions if isinstance(conditions, list) else [conditions]
    holds = [
        all(holding(_read(condition, *documents), condition, now) for condition in conditions)
        for documents in zip(rows["properties"], rows["context"], rows["element"], strict=True)
    ]
    rows = rows[pd.Series(holds, index=rows.index, dtype=bool).to_numpy()]
    values = [
        _read(declared, *documents)
        for documents in zip(rows["properties"], rows["context"], rows["element"], strict=True)
    ]
    made: pd.DataFrame = rows.assign(value=pd.Series(values, index=rows.index, dtype=object))
    return made


def text(value: Any) -> str | None:
    """A value as a text; an empty one says nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip(" ") or None


def number(value: Any) -> Decimal | None:
    """A value as a number of four digits behind the point."""
    if isinstance(value, bool | None | list | dict):
        return None
    try:
        found = Decimal(str(value).strip(" "))
    except InvalidOperation:
        return None
    return found.quantize(Decimal("0.0001"), ROUND_HALF_UP) if found.is_finite() else None


def moment(value: Any) -> datetime | None:
    """A value as a moment in UTC."""
    if not isinstance(value, str) or not _ISO.fullmatch(value.strip(" ")):
        return None
    try:
        found = datetime.fromisoformat(value.strip(" "))
    except ValueError:
        return None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def span(words: str) -> timedelta:
    """`30 days`."""
    count, unit = words.split()
    return timedelta(seconds=int(count) * _UNITS[unit.removesuffix("s")])


def holding(value: Any, condition: Declaration, now: datetime) -> bool:
    """Whether a condition is true of a value."""
    (operator,) = condition.keys() & _OPERATORS.keys()
    return _OPERATORS[operator](value, condition[operator], now)


def as_type(value: Any, data_type: str) -> Any:
    """A value of a type of data: exact numbers are rounded now."""
    if value is None:
        return None
    if data_type.startswith("decimal"):
        return rounded(value, int(data_type.rstrip(")").split(",")[1]))
    convert: dict[str, Callable[[Any], Any]] = {
        "bigint": lambda found: int(rounded(found, 0)),
        "double": float,
        "boolean": lambda found: found if isinstance(found, bool) else {"true": True, "false": False}[found],
        "timestamp": lambda found: found if isinstance(found, datetime) else moment(found),
        "date": lambda found: None if (at := as_type(found, "timestamp")) is None else at.date(),
        "json": lambda found: found if isinstance(found, list) else json.loads(found),
        "varchar": lambda found: found if isinstance(found, list) else text(found),
    }
    return convert[data_type](value)


def rounded(value: Any, digits: int) -> Decimal:
    """Rounded half away from zero."""
    if isinstance(value, float):
        return Decimal(math.floor(abs(value) * 10**digits + 0.5) * (1 if value >= 0 else -1)).scaleb(-digits)
    exact = value if isinstance(value, Fraction) else Fraction(Decimal(str(value)))
    scaled = abs(exact) * 10**digits
    whole = int(scaled + Fraction(1, 2))
    return Decimal(whole if exact >= 0 else -whole).scaleb(-digits)


def _split(path: str) -> tuple[str, str]:
    """The array's path and the path in its elements; no array without `[]`."""
    array, brackets, inner = path.partition("[]")
    return (array, inner.removeprefix(".")) if brackets else ("", path)


def _at(document: Any, path: str) -> Any:
    for name in path.split(".") if path else []:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read(named: Declaration, properties: Document, context: Document, element: Any) -> Any:
    if "context" in named:
        return _at(context, named["context"])
    array, path = _split(named.get("property", ""))
    return _at(element, path) if array else _at(properties, path) if path else None


def _in_window(at: datetime, window: Mapping[str, Any] | None, now: datetime) -> bool:
    if window is None:
        return True
    if "last" in window:
        return now - span(window["last"]) < at <= now
    if "this" in window:
        return _start_of(window["this"], now) <= at <= now
    low, high = moment(str(window.get("from", "0001-01-01"))), moment(str(window.get("to", "9999-12-31")))
    assert low and high
    return low <= at < high


def _start_of(unit: str, now: datetime) -> datetime:
    day = datetime(now.year, now.month, now.day)
    return {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "quarter": day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
        "year": day.replace(day=1, month=1),
    }[unit]


def _equals(value: Any, wanted: Any, now: datetime) -> bool:
    if isinstance(wanted, bool):
        return bool(value is wanted)
    if isinstance(wanted, int | float | Decimal):
        found = number(value)
        return found is not None and found == number(wanted)
    return text(value) == str(wanted)


def _compared(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[Any, Any, datetime], bool]:
    def holds(value: Any, wanted: Any, now: datetime) -> bool:
        found, bound = number(value), number(wanted)
        return found is not None and bound is not None and compare(found, bound)

    return holds


def _dated(compare: Callable[[datetime, Any, datetime], bool]) -> Callable[[Any, Any, datetime], bool]:
    def holds(value: Any, wanted: Any, now: datetime) -> bool:
        found = moment(value)
        return found is not None and compare(found, wanted, now)

    return holds


def _of_text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any, datetime], bool]:
    return lambda value, wanted, now: compare(text(value) or "", wanted)


_OPERATORS: dict[str, Callable[[Any, Any, datetime], bool]] = {
    "equals": _equals,
    "not_equals": lambda value, wanted, now: not _equals(value, wanted, now),
    "less_than": _compared(lambda found, bound: found < bound),
    "less_than_or_equal": _compared(lambda found, bound: found <= bound),
    "greater_than": _compared(lambda found, bound: found > bound),
    "greater_than_or_equal": _compared(lambda found, bound: found >= bound),
    "contains": _of_text(lambda found, part: part in found),
    "not_contains": _of_text(lambda found, part: part not in found),
    "starts_with": _of_text(str.startswith),
    "ends_with": _of_text(str.endswith),
    "exists": lambda value, wanted, now: text(value) is not None,
    "not_exists": lambda value, wanted, now: text(value) is None,
    "before_date": _dated(lambda found, bound, now: found < (moment(str(bound)) or now)),
    "after_date": _dated(lambda found, bound, now: found > (moment(str(bound)) or now)),
    "within_last": _dated(lambda found, words, now: now - span(words) < found <= now),
    "one_of": lambda value, wanted, now: any(_equals(value, one, now) for one in wanted),
}


def _value(kind: str, times: list[datetime], values: list[Any], declared: Declaration, now: datetime) -> Any:
    """One person's value, not yet of its type of data."""
    if kind in _OF_EVENTS:
        return _of_moments(kind, times, now)
    if kind in ("min", "max"):
        return _extreme(kind, values, declared.get("data_type", ""))
    if kind in ("sum", "avg", "percentile"):
        numbers = [Fraction(found) for found in map(number, values) if found is not None]
        return _of_numbers(kind, sorted(numbers), declared)
    return _of_texts(kind, [found for found in map(text, values) if found is not None], declared)


def _of_texts(kind: str, texts: list[str], declared: Declaration) -> Any:
    if kind == "unique_list_count":
        return len(set(texts))
    if not texts:
        return None
    if kind == "unique_list":
        return sorted(set(texts))
    if kind == "most_frequent":
        counts = Counter(texts)
        most = max(counts.values())
        return (
            min(one for one in counts if counts[one] == most) if most >= declared.get("minimum", 2) else None
        )
    return texts[0 if kind == "first" else -1]


def _of_moments(kind: str, times: list[datetime], now: datetime) -> Any:
    first, last = min(times), max(times)
    return {
        "count": len(times),
        "has_done": True,
        "first_at": first,
        "last_at": last,
        "days_since": (now - last) // timedelta(days=1),
        "days_between": float(_days(last - first)) / (len(times) - 1) if len(times) > 1 else None,
    }[kind]


def _days(gap: timedelta) -> Fraction:
    return Fraction(gap // timedelta(microseconds=1), 86_400 * 10**6)


def _of_numbers(kind: str, numbers: list[Fraction], declared: Declaration) -> Fraction | float | None:
    if kind == "sum":
        return sum(numbers, Fraction(0))
    if not numbers:
        return None
    if kind == "avg":
        return float(sum(numbers, Fraction(0))) / len(numbers)
    place = Fraction(str(declared["percentile"])) / 100 * (len(numbers) - 1)
    low = int(place)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * (place - low)


def _extreme(kind: str, values: list[Any], data_type: str) -> Any:
    readings: dict[str, Callable[[Any], Any]] = {"varchar": text, "timestamp": moment, "date": moment}
    found = [value for value in map(readings.get(data_type, number), values) if value is not None]
    return (min if kind == "min" else max)(found, default=None)


def _funnels(events: pd.DataFrame, declared: Declaration, now: datetime) -> dict[Any, int]:
    steps = [{"event": step} if isinstance(step, str) else step for step in declared["steps"]]
    taken: list[dict[Any, list[_Moment]]] = []
    for step in steps:
        rows = read(events, step, now)
        pairs: list[Any] = [(row.timestamp, row.message_id) for row in rows.itertuples()]
        moments = rows.assign(at=pd.Series(pairs, index=rows.index, dtype=object))
        taken.append(moments.groupby("person", sort=False)["at"].agg(list).to_dict())
    within = span(declared["within"]) if "within" in declared else timedelta.max
    return {person: _funnel([step.get(person, []) for step in taken], within) for person in taken[0]}


def _funnel(taken: list[list[_Moment]], within: timedelta) -> int:
    """How many steps a person took at most: from each first step on, the next one as early as can be."""
    best = 0
    for start in taken[0]:
        at, reached = start, 1
        for step in taken[1:]:
            after = [one for one in step if one > at and one[0] - start[0] <= within]
            if not after:
                break
            at, reached = min(after), reached + 1
        best = max(best, reached)
    return best
