"""What engines mean differently by the same words: days of the week, months between two times, whole-number
division.

Translating the words alone would select other people without an error. What has an exact equivalent is mapped
(timestamps.py); the rest is refused here.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from revetl.importers.segment_sql.refusal import SqlSource

ALIKE = {"databricks": "spark", "spark2": "spark", "tsql": "fabric"}
"""Dialects that mean the same as another."""

FIRST_DAY = {
    # Of DAYOFWEEK, DOW and WEEKDAY, in EXTRACT or as a function: the number of Sunday, the first day.
    **dict.fromkeys(("postgres", "redshift", "duckdb", "snowflake"), 0),
    **dict.fromkeys(("bigquery", "spark", "databricks"), 1),
}
ISO = 11
"""In the place of a first day's number: Monday is 1."""
_ISO_WEEKS = {"postgres", "redshift", "duckdb", "spark", "databricks"}
_DAYS_OF_WEEK = {"dow", "dayofweek", "dayofweek_sunday", "weekday", "dw"}
_ISO_DAYS_OF_WEEK = {"isodow", "dayofweekiso", "dayofweek_iso", "dow_iso", "isoweekday"}
_WEEKS = {"week", "weekofyear", "isoweek", "weekiso", "week_iso", "iso_week", "woy", "wy"}
_WHOLE_DIVISION = {"postgres", "redshift", "fabric", "tsql", "trino", "presto", "athena", "sqlite"}
_LOG_OF_TEN = {"postgres", "redshift", "duckdb", "sqlite"}
_NULL_IF_ANY = {"snowflake", "bigquery", "mysql", "trino", "presto", "athena"}
_ANCHORED = {"snowflake", "mysql"}
_WHOLE = (exp.Count, exp.Length, exp.Extract, exp.DateDiff, exp.TimestampDiff, exp.IntDiv, exp.ApproxDistinct)


def is_alike(one: str, other: str) -> bool:
    """Whether two dialects mean the same by the same words."""
    return ALIKE.get(one, one) == ALIKE.get(other, other)


def day_of_week(node: exp.Expr, dialect: str) -> tuple[exp.Expr, int] | None:
    """Return the moment whose day of the week a node is, and the number of its first day: 0 or 1 for a week
    from Sunday, ISO for one from Monday. None if it isn't one, or its numbers in the dialect aren't known."""
    if isinstance(node, exp.DayOfWeek) and dialect in FIRST_DAY:
        return node.this, FIRST_DAY[dialect]
    if isinstance(node, exp.DayOfWeekIso):
        return node.this, ISO
    if isinstance(node, exp.Extract):
        unit = node.name.lower()
        if unit in _ISO_DAYS_OF_WEEK:
            return node.expression, ISO
        if unit in _DAYS_OF_WEEK and dialect in FIRST_DAY:
            return node.expression, FIRST_DAY[dialect]
    return None


def check_meanings(root: exp.Expr, source: SqlSource, dialect: str) -> None:
    """Raises UsageError for an expression that means something else in the target's dialect."""
    written = source.dialect
    if is_alike(written, dialect):
        return
    for node in root.walk():
        if (why := _difference(node, written, dialect)) is not None:
            raise source.refused(node, why)


def _difference(node: exp.Expr, written: str, dialect: str) -> str | None:
    match node:
        case exp.DayOfWeek() | exp.DayOfWeekIso() | exp.Extract() if _is_day_of_week(node):
            if day_of_week(node, written) is None:
                return f"{written} counts the days of the week in its own way. Compare with DATE_TRUNC."
        case exp.Week() | exp.WeekOfYear() | exp.YearOfWeek() | exp.YearOfWeekIso():
            return f"weeks of the year are numbered differently by {dialect}. Use DATE_TRUNC('week', …)."
        case exp.Extract() if node.name.lower() == "week" and {written, dialect} <= _ISO_WEEKS:
            return None
        case exp.Extract() if node.name.lower() in _WEEKS or isinstance(node.this, exp.WeekStart):
            return f"weeks of the year are numbered differently by {dialect}. Use DATE_TRUNC('week', …)."
        case exp.Div() if _is_whole_division(node, written, dialect):
            return (
                f"{node.sql(written)} is a whole number in {written}, and a fraction in {dialect}. Write "
                "FLOOR(… / 2.0), or divide by a decimal number."
            )
        case exp.Select() if node.args.get("qualify") and not _has_qualify(dialect):
            if any(node.args.get(key) for key in ("limit", "offset", "order", "distinct")):
                return (
                    f"in {dialect} there is no QUALIFY, after which come LIMIT, ORDER BY and DISTINCT. Put "
                    "the part with QUALIFY into a CTE, and read that."
                )
        case exp.RegexpLike() | exp.RegexpILike() if (written in _ANCHORED) and dialect != "duckdb":
            return (
                f"in {written}, the pattern has to match the whole text, and in {dialect} a part of it. Use "
                "LIKE, or set the SQL's dialect with --dialect."
            )
        case exp.Greatest() | exp.Least() if (written in _NULL_IF_ANY) != (dialect in _NULL_IF_ANY):
            if not (written == "snowflake" and dialect == "duckdb"):
                return f"{written} and {dialect} treat null differently in {node.key.upper()}. Use CASE."
        case exp.Log() if node.args.get("expression") is None:
            if (written in _LOG_OF_TEN) != (dialect in _LOG_OF_TEN):
                return "LOG has another base there. Use LN, or LN(x) / LN(10)."
        case exp.MonthsBetween():
            return f"{dialect} has no MONTHS_BETWEEN with fractions. Use DATEDIFF."
        case _:
            return None
    return None


def _is_day_of_week(node: exp.Expr) -> bool:
    if isinstance(node, exp.Extract):
        return node.name.lower() in _DAYS_OF_WEEK | _ISO_DAYS_OF_WEEK
    return True


def _is_whole_division(node: exp.Div, written: str, dialect: str) -> bool:
    is_whole, stays = written in _WHOLE_DIVISION, dialect in _WHOLE_DIVISION
    return is_whole and not stays and _is_whole(node.this) and _is_whole(node.expression)


def _is_whole(node: exp.Expr) -> bool:
    """Whether a value is a whole number for certain."""
    if isinstance(node, exp.Literal):
        return node.is_int
    if isinstance(node, exp.Paren | exp.Neg | exp.Abs | exp.Max | exp.Min | exp.Sum):
        return _is_whole(node.this)
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod | exp.Div):
        return _is_whole(node.this) and _is_whole(node.expression)
    if isinstance(node, exp.Cast):
        return node.to.is_type(*exp.DataType.INTEGER_TYPES)
    return isinstance(node, _WHOLE)


def _has_qualify(dialect: str) -> bool:
    text = "SELECT a FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1"
    return "QUALIFY" in sqlglot.transpile(text, read="snowflake", write=dialect)[0]
