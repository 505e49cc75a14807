"""Intervals in SQL, and timestamps shifted by them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from revetl.importers.segment_sql.jinja import Jinja, quoted

_UNITS = {
    "second": "s ss sec second",
    "minute": "mi min minute n",
    "hour": "h hh hr hour",
    "day": "d dd day dayofmonth",
    "week": "w ww wk week isoweek",
    "month": "mm mon month",
    "quarter": "q qq qtr quarter",
    "year": "y yy yyyy yr year",
}
_NAMES = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_MADE = {"ToDays": "day", "ToHours": "hour", "ToMinutes": "minute", "ToSeconds": "second", "ToWeeks": "week"}


@dataclass(frozen=True)
class Interval:
    """An integer number of months, or a number of seconds."""

    months: int = 0
    seconds: Fraction = Fraction(0)

    def __neg__(self) -> Interval:
        return Interval(-self.months, -self.seconds)


def unit_of(node: exp.Expr | None) -> str | None:
    """Return the standard name of a time unit in any dialect."""
    if node is None:
        return None
    name = node.name.lower()
    return _NAMES.get(name) or _NAMES.get(name.removesuffix("s"))


def number_of(node: exp.Expr | None) -> Fraction | None:
    """Return the value of a numeric literal, including its sign."""
    if isinstance(node, exp.Literal):
        return Fraction(node.name) if re.fullmatch(r"[+-]?\d+(\.\d+)?", node.name.strip()) else None
    if isinstance(node, exp.Paren):
        return number_of(node.this)
    if isinstance(node, exp.Neg):
        inner = number_of(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Mul):
        left, right = number_of(node.this), number_of(node.expression)
        return None if left is None or right is None else left * right
    return None


def span_of(amount: Fraction | None, unit: str | None) -> Interval | None:
    """Return the span of an amount in a unit."""
    if amount is None or unit is None:
        return None
    if unit in _MONTHS:
        months = amount * _MONTHS[unit]
        return Interval(months=int(months)) if months.denominator == 1 else None
    return Interval(seconds=amount * _SECONDS[unit])


def interval_of(node: exp.Expr) -> Interval | None:
    """Return the span of an INTERVAL, or of an equivalent expression."""
    if isinstance(node, exp.Paren):
        return interval_of(node.this)
    if isinstance(node, exp.Neg):
        inner = interval_of(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Mul):
        for side, times in ((node.this, node.expression), (node.expression, node.this)):
            inner, number = interval_of(side), number_of(times)
            if inner is not None and number is not None and (inner.months * number).denominator == 1:
                return Interval(int(inner.months * number), inner.seconds * number)
        return None
    if isinstance(node, exp.Interval) and node.args.get("unit") is not None:
        return span_of(number_of(node.this), unit_of(node.args["unit"]))
    is_cast = isinstance(node, exp.Cast) and node.to.is_type("interval")
    if isinstance(node, exp.Interval) or is_cast:
        return _written(node.this.name)
    if type(node).__name__ in _MADE:
        return span_of(number_of(node.this), _MADE[type(node).__name__])
    return None


def _written(text: str) -> Interval | None:
    """Parse a text such as `1 day 2 hours`."""
    total = Interval()
    rest = re.sub(r"([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", r"\1 \2;", text.strip())
    for each in filter(None, rest.split(";")):
        number, _, unit = each.partition(" ")
        found = span_of(number_of(exp.Literal.string(number)), unit_of(exp.Var(this=unit)))
        if found is None:
            return None
        total = Interval(total.months + found.months, total.seconds + found.seconds)
    return total


def moved(jinja: Jinja, moment: exp.Expr, span: Interval) -> exp.Expr | None:
    """Return a timestamp shifted by a span; None for fractions of a second."""
    made = moment
    if span.months:
        made = jinja.call("months_after", made, str(span.months))
    if span.seconds.denominator != 1:
        return None
    seconds = int(span.seconds)
    if not seconds:
        return made
    if seconds % 86_400 == 0:
        return jinja.call("days_before" if seconds < 0 else "days_after", made, str(abs(seconds) // 86_400))
    if seconds < 0 and seconds % 3_600 == 0:
        return jinja.call("hours_before", made, str(-seconds // 3_600))
    return jinja.call("seconds_after", made, str(seconds))


def start_of(jinja: Jinja, unit: str, moment: exp.Expr) -> exp.Expr:
    """Return the start of a timestamp's day, week and so on."""
    return jinja.call("start_of", quoted(unit), moment)
