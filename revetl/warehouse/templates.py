"""SQL templates. A template is parsed to a sqlglot expression, and its `:names` are filled with expressions
or values, so that sqlglot does all quoting and transpiling."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

from revetl.errors import UsageError


@lru_cache(maxsize=256)
def _parsed(template: str, dialect: str | None) -> exp.Expr:
    parsed = sqlglot.parse_one(template, dialect=dialect)
    for node in parsed.walk():
        # The parser notes where each word was. Nothing reads that, and it is most of what a copy costs.
        node._meta = None
    return parsed


def statement(template: str, dialect: str | None = None, /, **parts: Any) -> exp.Expr:
    """Parse a template, by default in sqlglot's dialect, and fill in its `:names`. Expressions are inserted
    unchanged, including tables (`from :model`); other Python values become literals.

    An expression without a parent becomes a part of the result; one that has a parent is copied. Statements
    nest, and copying all parts at each level would cost seconds for a sync of many fields. Tables and columns
    are always copied: they are small, and modules hold them as constants."""
    free = {
        id(part)
        for part in parts.values()
        if isinstance(part, exp.Expr) and part.parent is None and not isinstance(part, exp.Table | exp.Column)
    }

    def fill(node: exp.Expr) -> exp.Expr:
        name = None
        if isinstance(node, exp.Placeholder):
            name = node.name
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Placeholder):
            name = node.this.name
        if name is None or name not in parts:
            return node
        value = parts[name]
        if not isinstance(value, exp.Expr):
            filled = exp.convert(value)
        elif id(value) in free:
            free.remove(id(value))
            filled = value
        else:
            filled = value.copy()
        if isinstance(node, exp.Table) and node.alias:
            return exp.alias_(filled, node.alias, table=True)
        return filled

    return _parsed(template, dialect).transform(fill)


def query(template: str, /, **parts: Any) -> exp.Query:
    """Return `statement` as a query: a select or a union."""
    made = statement(template, **parts)
    assert isinstance(made, exp.Query)
    return made


def select(template: str, /, **parts: Any) -> exp.Select:
    """Return `statement` as a select."""
    made = statement(template, **parts)
    assert isinstance(made, exp.Select)
    return made


def table(name: str, schema: str | None = None, database: str | None = None) -> exp.Table:
    """Return a quoted table."""
    return exp.table_(name, db=schema, catalog=database, quoted=True)


def column(name: str, of: str | None = None) -> exp.Column:
    """Return a quoted column."""
    return exp.column(name, table=of, quoted=True)


def parse_scalar(text: str, place: str) -> exp.Expr:
    """Parse a SQL expression over the columns of one row. Raises UsageError."""
    try:
        (parsed,) = sqlglot.parse(text, dialect="duckdb")
        assert parsed is not None
    except (sqlglot.errors.SqlglotError, ValueError, AssertionError):
        raise UsageError(f"{place}: '{text}' is neither a column nor a SQL expression. Fix it.") from None
    if parsed.find(exp.Query, exp.DDL, exp.DML, exp.Command, exp.Placeholder, exp.Parameter):
        raise UsageError(f"{place}: '{text}' is not an expression over columns. Move queries into the model.")
    if parsed.find(exp.AggFunc, exp.Window, exp.Star):
        raise UsageError(f"{place}: '{text}' reads several rows. Move it into the model.")
    return parsed
