"""SQL written once: a template is parsed to a sqlglot expression and its `:names` are filled with
expressions or values, so that quoting and dialect are sqlglot's business and never ours."""

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
    """The template, written in sqlglot's own dialect unless another is named, as an expression. A part that
    is an expression takes the place of `:name` as it is (a table too: `from :model`); any other Python value
    becomes a literal.

    An expression that is in no other yet becomes a part of this one, and one that is in another is copied:
    statements nest, and to copy all parts at each level would cost seconds for a sync of many fields."""
    free = {id(part) for part in parts.values() if isinstance(part, exp.Expr) and part.parent is None}

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
    """`statement` of a query: a select, or a union of some."""
    made = statement(template, **parts)
    assert isinstance(made, exp.Query)
    return made


def select(template: str, /, **parts: Any) -> exp.Select:
    """`statement` of a select."""
    made = statement(template, **parts)
    assert isinstance(made, exp.Select)
    return made


def table(name: str, schema: str | None = None, database: str | None = None) -> exp.Table:
    """A table by its parts, always quoted."""
    return exp.table_(name, db=schema, catalog=database, quoted=True)


def column(name: str, of: str | None = None) -> exp.Column:
    """A column, always quoted."""
    return exp.column(name, table=of, quoted=True)


def parse_scalar(text: str, place: str) -> exp.Expr:
    """A SQL expression that reads one row and nothing else, whatever its columns. Raises UsageError."""
    try:
        (parsed,) = sqlglot.parse(text, dialect="duckdb")
        assert parsed is not None
    except (sqlglot.errors.SqlglotError, ValueError, AssertionError):
        raise UsageError(f"{place}: '{text}' is neither a column nor a SQL expression. Correct it.") from None
    if parsed.find(exp.Query, exp.DDL, exp.DML, exp.Command, exp.Placeholder, exp.Parameter):
        raise UsageError(f"{place}: '{text}' is not an expression over columns. Put a query into the model.")
    if parsed.find(exp.AggFunc, exp.Window, exp.Star):
        raise UsageError(f"{place}: '{text}' is over many rows. Put it into the model.")
    return parsed
