"""Compile the SQL of a derived property for every engine, with the properties it reads, their types and its
own type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types

from revetl.errors import UsageError
from revetl.governance.transformations import DerivedProperty
from revetl.warehouse.templates import parse_scalar

DIALECTS = ("duckdb", "postgres", "snowflake", "bigquery", "redshift", "spark", "databricks", "fabric")
"""The engines' names in sqlglot and dbt."""

_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Pow)
_OF_NUMBERS = (exp.Round, exp.Abs, exp.Floor, exp.Ceil, exp.Sqrt, exp.Sign, exp.Ln, exp.Log, exp.Exp)
_COMPARES = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In)
_ALIKE = (exp.Paren, exp.Neg, exp.Coalesce, exp.Nullif, exp.Least, exp.Greatest, exp.If, exp.Case)
_TYPES = {"number": "double", "integer": "double", "string": "varchar", "boolean": "boolean"}


@dataclass(frozen=True)
class PropertyRead:
    """A property that an expression reads: its path, and its type (number, string or boolean)."""

    path: str
    type: str


@dataclass(frozen=True)
class DerivedSql:
    """An expression by dialect, with placeholders `__read_0__` … for `reads`, and the type of its value."""

    type: str
    reads: tuple[PropertyRead, ...]
    sql: Mapping[str, str]


def derived_sql(name: str, derived: DerivedProperty, casts: Mapping[str, str]) -> DerivedSql:
    """Compile the SQL of the derived property `name`. A property has its type in `casts`, else it is a number
    if the SQL computes with it or compares it with a number, else a string. Raises UsageError if the type of
    the value can't be inferred."""
    expression = parse_scalar(derived.sql, f"derive.{name}")
    reads: list[PropertyRead] = []

    def fill(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        path = ".".join(part.name for part in node.parts)
        kind = casts.get(path) or ("number" if _is_number(node) else "string")
        reads.append(PropertyRead(path, "number" if kind == "integer" else kind))
        return exp.column(f"__read_{len(reads) - 1}__")

    filled = expression.transform(fill)
    return DerivedSql(
        derived.type or _type_of(name, filled, reads),
        tuple(reads),
        {dialect: _for(filled, dialect).sql(dialect=dialect) for dialect in DIALECTS},
    )


def _for(expression: exp.Expr, dialect: str) -> exp.Expr:
    """Adapt an expression to an engine where sqlglot doesn't."""
    if dialect not in ("postgres", "redshift"):
        return expression

    def exact(node: exp.Expr) -> exp.Expr:
        # There, round() with a number of digits requires an exact number.
        if isinstance(node, exp.Round) and node.args.get("decimals") is not None:
            node.set("this", exp.cast(node.this, "decimal" if dialect == "postgres" else "decimal(38, 9)"))
        return node

    return expression.transform(exact)


def _is_number(column: exp.Expr) -> bool:
    """Whether a column is used as a number."""
    node = column
    while isinstance(node.parent, _ALIKE):
        if any(_is_literal_number(each) for each in _beside(node)):
            return True
        node = node.parent
    parent = node.parent
    if isinstance(parent, _COMPARES):
        return any(_is_literal_number(each) or isinstance(each, _ARITHMETIC) for each in _beside(node))
    return isinstance(parent, (*_ARITHMETIC, *_OF_NUMBERS))


def _beside(node: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the siblings of an expression."""
    parent = node.parent
    assert parent is not None
    for each in parent.iter_expressions():
        if each is not node:
            yield each


def _is_literal_number(node: exp.Expr) -> bool:
    inner = node.this if isinstance(node, exp.Neg) else node
    return isinstance(inner, exp.Literal) and not inner.is_string


def _type_of(name: str, filled: exp.Expr, reads: list[PropertyRead]) -> str:
    typed = filled.transform(
        lambda node: (
            exp.cast(exp.column("read"), _TYPES[reads[int(node.name.strip("_").removeprefix("read_"))].type])
            if isinstance(node, exp.Column)
            else node
        )
    )
    found = annotate_types(typed, dialect="duckdb").type
    if found is not None and found.is_type(*exp.DataType.NUMERIC_TYPES):
        return "number"
    if found is not None and found.is_type(*exp.DataType.TEXT_TYPES):
        return "string"
    if found is not None and found.is_type("boolean"):
        return "boolean"
    raise UsageError(
        f"derive.{name}: cannot infer the type of '{filled.sql(dialect='duckdb')}'. Set it: "
        f"{name}: {{sql: …, type: number}} (or string, or boolean)."
    )
