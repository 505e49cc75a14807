"""Resolve members of JSON columns in SQL expressions: `properties.category` for a column `properties`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp


def with_members(parsed: exp.Expr, columns: Mapping[str, str]) -> exp.Expr:
    """Replace each dotted name that begins with a column (`columns`: lower case to name) by the member of its
    JSON: as JSON if it is the whole expression, else as text."""

    def member(node: exp.Expr) -> exp.Expr:
        names = _names(node)
        if len(names) < 2 or names[0].lower() not in columns:
            return node
        alone = node.parent is None
        kind = exp.JSONExtract if alone else exp.JSONExtractScalar
        keys = [exp.JSONPathKey(this=name) for name in names[1:]]
        path = exp.JSONPath(expressions=[exp.JSONPathRoot(), *keys])
        return kind(this=exp.column(columns[names[0].lower()], quoted=True), expression=path)

    return parsed.transform(member)


def _names(node: exp.Expr) -> list[str]:
    """Return the parts of a dotted name; empty for other expressions."""
    if isinstance(node, exp.Column):
        return [part.name for part in node.parts]
    if isinstance(node, exp.Dot) and (inner := _names(node.this)):
        return [*inner, node.expression.name]
    return []
