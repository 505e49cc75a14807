"""What T-SQL (Fabric's warehouse, Synapse) does not take of a statement, though sqlglot does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp

CONDITIONS = (exp.Predicate, exp.And, exp.Or, exp.Not, exp.Boolean)
RESERVED = {
    "all", "alter", "and", "any", "as", "asc", "between", "by", "case", "check", "close", "column",
    "constraint", "create", "cross", "current", "default", "delete", "desc", "distinct", "drop",
    "else", "end", "exists", "external", "file", "for", "foreign", "from", "full", "function",
    "grant", "group", "having", "identity", "in", "index", "inner", "insert", "into", "is", "join",
    "key", "left", "like", "not", "null", "of", "off", "on", "open", "option", "or", "order",
    "outer", "over", "percent", "plan", "primary", "proc", "public", "read", "return", "right",
    "rule", "save", "schema", "select", "set", "some", "statistics", "table", "then", "to", "top",
    "trigger", "union", "unique", "update", "use", "user", "values", "view", "when", "where",
    "with", "within",
}  # fmt: skip


def refused(statement: str) -> set[str]:
    """Why a statement is not T-SQL, each in some words."""
    # A view is made by text in text.
    if view := re.search(r"EXEC\('(create view.*);'\)", statement, re.DOTALL):
        statement = view[1].replace("''", "'")
    parsed = sqlglot.parse(statement, dialect="fabric")
    return {why for query in parsed if query for node in query.walk() for why in _refused(node)}


def _refused(node: exp.Expr) -> Iterator[str]:
    if isinstance(node, exp.Select):
        for column in node.selects:
            if isinstance(_bare(column.unalias()), CONDITIONS):
                yield f"a condition as the column {column.alias_or_name}"
    elif isinstance(node, exp.Where | exp.Having | exp.If):
        yield from _no_conditions(node.this)
    elif isinstance(node, exp.Join) and node.args.get("on"):
        yield from _no_conditions(node.args["on"])
    elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query) and node.this.ctes:
        yield "a query in brackets that begins with `with`"
    elif isinstance(node, exp.Identifier) and not node.args.get("quoted") and node.name.lower() in RESERVED:
        yield f"the name {node.name}"
    elif isinstance(node, exp.DPipe):
        yield "||"


def _no_conditions(condition: exp.Expr) -> Iterator[str]:
    condition = _bare(condition)
    if isinstance(condition, exp.And | exp.Or):
        yield from _no_conditions(condition.left)
        yield from _no_conditions(condition.right)
    elif isinstance(condition, exp.Not):
        yield from _no_conditions(condition.this)
    elif isinstance(condition, exp.Column | exp.Boolean):
        yield f"{condition.sql()} as a condition"


def _bare(expression: exp.Expr) -> exp.Expr:
    while isinstance(expression, exp.Paren):
        expression = expression.this
    return expression
