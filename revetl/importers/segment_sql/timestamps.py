"""Converts dates and timestamps: the current time, shifted times, and differences."""

from __future__ import annotations

from sqlglot import exp

from revetl.importers.segment_sql.differences import ISO, day_of_week, is_alike
from revetl.importers.segment_sql.intervals import (
    Interval,
    interval_of,
    moved,
    number_of,
    span_of,
    start_of,
    unit_of,
)
from revetl.importers.segment_sql.jinja import Jinja
from revetl.importers.segment_sql.refusal import SqlSource
from revetl.importers.segment_sql.values import Values, is_now, is_temporal

TEMPORAL = {"moment", "today", "shifted", "date"}
"""Kinds of values: `today` is CURRENT_DATE, and `shifted` is today shifted by a span."""
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_ADDED = (
    exp.DateAdd,
    exp.DatetimeAdd,
    exp.TimestampAdd,
    exp.TimeAdd,
    exp.TsOrDsAdd,
    exp.DateSub,
    exp.DatetimeSub,
    exp.TimestampSub,
    exp.TimeSub,
)
_SUBTRACTED = (exp.DateSub, exp.DatetimeSub, exp.TimestampSub, exp.TimeSub)
_TRUNCATED = (exp.DateTrunc, exp.TimestampTrunc, exp.DatetimeTrunc)
_MADE_DAYS = (exp.Date, exp.TsOrDsToDate)
_MADE_MOMENTS = (exp.Timestamp, exp.TsOrDsToTimestamp, exp.TsOrDsToDatetime, exp.Datetime)
_READ = {"to_timestamp", "to_timestamp_ntz", "to_timestamp_tz", "try_to_timestamp", "try_to_timestamp_ntz"}
_BY_BOUNDARIES = {"snowflake", "redshift", "bigquery", "duckdb", "fabric", "tsql"}
"""Dialects whose DATEDIFF counts the boundaries between two times, not what has elapsed."""
_CALENDAR = {"month": 12, "quarter": 4, "year": 1}
_DIFFERENCES = (exp.DateDiff, exp.TsOrDsDiff, exp.TimestampDiff, exp.DatetimeDiff)


class Moments:
    """Converts time expressions to the package's macros."""

    def __init__(self, source: SqlSource, values: Values, jinja: Jinja) -> None:
        self._source = source
        self._values = values
        self._jinja = jinja

    def written(self, node: exp.Expr) -> exp.Expr | None:
        """Return the replacement of a node whose parts are converted already; None if it stays."""
        if is_now(node):
            kind = "today" if isinstance(node, exp.CurrentDate) else "moment"
            return self._told(self._jinja.put("revetl.as_of()"), kind)
        if isinstance(node, exp.AtTimeZone):
            return self._in_zone(node)
        if isinstance(node, exp.Cast) and is_temporal(node.to):
            return self._cast(node, is_day=node.to.is_type("date"))
        if isinstance(node, _MADE_DAYS) and not node.args.get("expressions") and not node.args.get("zone"):
            return self._cast(node, is_day=True)
        if isinstance(node, _MADE_MOMENTS) and not node.args.get("expression"):
            return self._cast(node, is_day=False)
        if isinstance(node, exp.Anonymous) and node.name.lower() in _READ and len(node.expressions) == 1:
            made = exp.Cast(this=node.expressions[0], to=exp.DataType.build("timestamp"))
            return self._cast(made, is_day=False)
        if isinstance(node, _TRUNCATED):
            return self._truncated(node)
        if isinstance(node, exp.Trunc) and self._kind(node.this) in TEMPORAL:
            return self._told(start_of(self._jinja, "day", node.this), "date")
        if isinstance(node, exp.AddMonths):
            return self._moved(node.this, span_of(number_of(node.expression), "month"))
        if isinstance(node, _ADDED):
            span = self._span(node.expression, unit_of(node.args.get("unit")) or "day")
            is_back = isinstance(node, _SUBTRACTED)
            return self._moved(node.this, -span if span is not None and is_back else span)
        if isinstance(node, exp.Add | exp.Sub):
            return self._sum(node)
        if isinstance(node, _DIFFERENCES):
            return self._difference(node)
        if isinstance(node, (*_COMPARED, exp.Between)):
            self._compare(node)
        if not is_alike(self._source.dialect, self._jinja.dialect):
            return self._day_of_week(node)
        return None

    def _day_of_week(self, node: exp.Expr) -> exp.Expr | None:
        """Convert the number of a day of the week: days since a Sunday or a Monday, modulo 7."""
        found = day_of_week(node, self._source.dialect)
        if found is None or self._kind(found[0]) not in TEMPORAL:
            if found is None:
                return None
            raise self._source.refused(
                node, "the day of the week is counted of a timestamp. Cast the value to one."
            )
        moment, first = found
        # 7 January 1900 was a Sunday.
        began = exp.Cast(
            this=exp.Literal.string("1900-01-08" if first == ISO else "1900-01-07"),
            to=self._jinja.type("timestamp"),
        )
        days = self._jinja.call("days_between", began, self._day(moment))
        whole = exp.Cast(this=days, to=self._jinja.type("bigint"))
        number: exp.Expr = exp.Mod(this=whole, expression=exp.Literal.number(7))
        if first:
            number = exp.paren(exp.Add(this=number, expression=exp.Literal.number(1)))
        return self._told(number, "number")

    def _kind(self, node: exp.Expr | None) -> str | None:
        return self._values.kind(node.unnest() if node is not None else None)

    def _told(self, node: exp.Expr, kind: str) -> exp.Expr:
        return self._values.tell(node, kind)

    def _in_zone(self, node: exp.AtTimeZone) -> exp.Expr | None:
        if node.args["zone"].name.upper() not in ("UTC", "ETC/UTC", "GMT", "Z"):
            raise self._source.refused(node, "AT TIME ZONE: messages only have times in UTC. Remove it.")
        kind = self._kind(node.this)
        return node.this if kind in TEMPORAL else None

    def _cast(self, node: exp.Expr, *, is_day: bool) -> exp.Expr | None:
        inner = node.this
        kind = self._kind(inner)
        if kind in TEMPORAL:
            if not is_day:
                return inner  # type: ignore[no-any-return]
            if kind in ("today", "shifted", "date"):
                return inner  # type: ignore[no-any-return]
            return self._told(start_of(self._jinja, "day", inner), "date")
        if is_day and kind != "text":
            return None
        cast = exp.Cast(this=inner, to=self._jinja.type("timestamp"))
        return self._told(cast, "date" if is_day else "moment")

    def _truncated(self, node: exp.Expr) -> exp.Expr | None:
        if self._kind(node.this) not in TEMPORAL:
            return None
        unit = node.args.get("unit")
        if isinstance(unit, exp.WeekStart):
            name = "week" if unit.name.upper() == "MONDAY" else None
        else:
            name = unit_of(unit)
            if name == "week" and self._source.dialect in ("tsql", "fabric", "mysql"):
                name = None
        if name is None:
            raise self._source.refused(
                node,
                f"{node.sql(self._source.dialect)}: weeks start on Monday here. Truncate to another unit.",
            )
        kind = "date" if name in ("day", "week", "month", "quarter", "year") else "moment"
        return self._told(start_of(self._jinja, name, node.this), kind)

    def _span(self, node: exp.Expr, unit: str) -> Interval | None:
        return interval_of(node) or span_of(number_of(node), unit)

    def _moved(self, moment: exp.Expr, span: Interval | None) -> exp.Expr | None:
        made = None if span is None else moved(self._jinja, moment, span)
        if made is None:
            return None
        kind = self._kind(moment)
        return self._told(made, "shifted" if kind == "today" else kind if kind in TEMPORAL else "moment")

    def _sum(self, node: exp.Add | exp.Sub) -> exp.Expr | None:
        left, right = node.this, node.expression
        if isinstance(node, exp.Add) and self._kind(left) not in TEMPORAL:
            left, right = right, left
        if self._kind(left) not in TEMPORAL:
            return None
        if self._kind(right) in TEMPORAL:
            return self._between(node, left, right) if isinstance(node, exp.Sub) else None
        span = interval_of(right)
        if span is None and self._kind(left) in ("today", "shifted", "date", "moment"):
            span = span_of(number_of(right), "day")
        if span is None:
            return None
        return self._moved(left, -span if isinstance(node, exp.Sub) else span)

    def _between(self, node: exp.Expr, later: exp.Expr, earlier: exp.Expr) -> exp.Expr | None:
        """Convert the difference of two timestamps: to days if compared with a number, or if both are
        dates."""
        wanted = self._values.wanted(node.parent if isinstance(node.parent, exp.Paren) else node)
        days = {"today", "shifted", "date"}
        if wanted == "span":
            return self._told(self._jinja.call("seconds_between", earlier, later), "seconds")
        if {self._kind(earlier), self._kind(later)} <= days:
            return self._told(
                self._jinja.call("days_between", self._day(earlier), self._day(later)), "number"
            )
        if wanted == "number":
            return self._told(self._jinja.call("days_between", earlier, later), "number")
        return None

    def _day(self, node: exp.Expr) -> exp.Expr:
        return node if self._kind(node) == "date" else start_of(self._jinja, "day", node)

    def _difference(self, node: exp.Expr) -> exp.Expr | None:
        later, earlier = node.this, node.expression
        written = node.args.get("unit")
        unit = unit_of(written) or "day"
        elapsed = isinstance(node, exp.TimestampDiff | exp.DatetimeDiff)
        if not (self._kind(later) in TEMPORAL or self._kind(earlier) in TEMPORAL):
            return None
        if written is not None and unit_of(written) is None:
            if is_alike(self._source.dialect, self._jinja.dialect):
                return None
            raise self._source.refused(
                node, f"differences in {written.sql()} cannot be translated. Use days."
            )
        if unit == "day" and not elapsed:
            return self._told(
                self._jinja.call("days_between", self._day(earlier), self._day(later)), "number"
            )
        if elapsed and unit in ("second", "minute", "hour", "day"):
            seconds = self._jinja.call("seconds_between", earlier, later)
            divisor = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[unit]
            return self._told(
                exp.Floor(this=exp.Div(this=seconds, expression=exp.Literal.number(divisor))), "number"
            )
        if is_alike(self._source.dialect, self._jinja.dialect):
            return None
        if not elapsed and self._source.dialect in _BY_BOUNDARIES and unit in _CALENDAR:
            return self._boundaries(earlier, later, unit)
        raise self._source.refused(
            node,
            f"{self._source.dialect} and {self._jinja.dialect} count {unit}s between two times differently. "
            "Use days.",
        )

    def _boundaries(self, earlier: exp.Expr, later: exp.Expr, unit: str) -> exp.Expr:
        """Convert a difference that counts the boundaries of months, quarters or years."""

        def number(moment: exp.Expr) -> exp.Expr:
            year = exp.Extract(this=exp.var("year"), expression=moment.copy())
            if unit == "year":
                return year
            part = exp.Extract(this=exp.var(unit), expression=moment.copy())
            factor = exp.Literal.number(_CALENDAR[unit])
            return exp.paren(exp.Add(this=exp.Mul(this=year, expression=factor), expression=part))

        return self._told(exp.paren(exp.Sub(this=number(later), expression=number(earlier))), "number")

    def _compare(self, node: exp.Expr) -> None:
        """Convert comparisons: a date is compared with the start of today, a span with seconds."""
        keys = ("this", "low", "high") if isinstance(node, exp.Between) else ("this", "expression")
        kinds = {key: self._kind(node.args[key]) for key in keys}
        for key in keys:
            others = {kind for other, kind in kinds.items() if other != key}
            is_bare = kinds[key] == "today" and "moment" in others
            if is_bare or (kinds[key] in ("today", "shifted") and "date" in others):
                node.set(key, self._told(start_of(self._jinja, "day", node.args[key]), "date"))
            span = interval_of(node.args[key]) if "seconds" in others else None
            if span is not None:
                if span.months or span.seconds.denominator != 1:
                    raise self._source.refused(
                        node,
                        "a difference of timestamps is compared with months, whose length varies. Use days.",
                    )
                node.set(key, exp.Literal.number(int(span.seconds)))
