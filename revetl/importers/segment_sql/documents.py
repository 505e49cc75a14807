"""Recognizes members of JSON documents, in every dialect's syntax."""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# Functions that sqlglot only parses in some dialects: a document, and names or a path.
_BY_NAMES = {"jsonb_extract_path_text", "json_extract_path_text", "jsonb_extract_path", "json_extract_path"}
_BY_PATH = {"json_extract_string", "json_extract_scalar", "json_value", "get_json_object", "get_path"}
# Functions that only mark a text as a document.
_PARSED = {"parse_json", "try_parse_json", "json_parse", "to_variant", "from_json", "json_unquote"}
_TYPED = {
    "Float64": "number",
    "LaxFloat64": "number",
    "Int64": "number",
    "LaxInt64": "number",
    "String": "text",
    "LaxString": "text",
    "Bool": "boolean",
    "LaxBool": "boolean",
}


class Index(Exception):
    """The path contains an array element."""


class MemberRead(exp.Expression, exp.Func):
    """A member of a document: `this` is the document, `expressions` the names of the path, `to` the value
    type it is cast to."""

    arg_types = {"this": True, "expressions": True, "to": False}  # noqa: RUF012

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(str(each.this) for each in self.expressions)


def read_of(document: exp.Expr, path: tuple[str, ...], to: str | None = None) -> MemberRead:
    """Build the read of a member of a document by its path."""
    names = [exp.Literal.string(name) for name in path]
    return MemberRead(this=document, expressions=names, to=None if to is None else exp.Var(this=to))


def as_read(node: exp.Expr) -> tuple[exp.Column | exp.Dot, tuple[str, ...], str | None] | None:
    """Return the column, path and type that a node reads, if it reads a member of a document column. A column
    like `properties.price` has no path yet. Raises Index for an array element."""
    kind = _TYPED.get(type(node).__name__)
    if kind is not None or isinstance(node, exp.Paren):
        inner = as_read(node.this)
        if inner is None or (kind is None and not inner[1]):
            return None
        return inner[0], inner[1], kind or inner[2]
    if (parsed := _parsed(node)) is not None:
        inner = as_read(parsed)
        return inner and (inner[0], inner[1], None)
    if isinstance(node, exp.Column | exp.Dot):
        return node, (), None
    step = _step(node)
    if step is None:
        return None
    document, names = step
    inner = as_read(document)
    return inner and (inner[0], (*inner[1], *names), None)


def _parsed(node: exp.Expr) -> exp.Expr | None:
    """Return the text that a node parses as a document."""
    if isinstance(node, exp.ParseJSON):
        return node.this  # type: ignore[no-any-return]
    if isinstance(node, exp.Anonymous) and node.name.lower() in _PARSED and node.expressions:
        return node.expressions[0]  # type: ignore[no-any-return]
    if isinstance(node, exp.Cast) and node.to.is_type("json", "jsonb", "variant", "super"):
        return node.this  # type: ignore[no-any-return]
    return None


def _step(node: exp.Expr) -> tuple[exp.Expr, tuple[str, ...]] | None:
    """Return what a single function or operator reads, and its path."""
    if isinstance(node, exp.JSONExtract | exp.JSONExtractScalar):
        more = [each.name for each in node.expressions if isinstance(each, exp.Literal)]
        if more or (isinstance(node.expression, exp.Literal) and node.expressions):
            return node.this, (node.expression.name, *more)
        return node.this, _names(node.expression)
    if isinstance(node, exp.JSONBExtract | exp.JSONBExtractScalar):
        text = node.expression.name
        if not (text.startswith("{") and text.endswith("}")):
            return None
        return node.this, tuple(name.strip().strip('"') for name in text[1:-1].split(","))
    if isinstance(node, exp.GetExtract):
        return node.this, _names(node.expression)
    if isinstance(node, exp.Bracket) and len(node.expressions) == 1:
        return node.this, _names(node.expressions[0])
    if isinstance(node, exp.Anonymous) and len(node.expressions) > 1:
        name = node.name.lower()
        if name in _BY_NAMES and all(isinstance(each, exp.Literal) for each in node.expressions[1:]):
            return node.expressions[0], tuple(each.name for each in node.expressions[1:])
        if name in _BY_PATH:
            return node.expressions[0], _names(node.expressions[1])
    return None


def _names(path: exp.Expr) -> tuple[str, ...]:
    """Return the names of a path. Raises Index if it contains an array element."""
    if isinstance(path, exp.Literal):
        if not path.is_string:
            raise Index
        if not path.name.startswith("$"):
            return tuple(path.name.split(".")) if re.fullmatch(r"\w+(\.\w+)+", path.name) else (path.name,)
        try:
            parsed = sqlglot.parse_one(f"json_extract(x, {path.sql('duckdb')})", dialect="duckdb")
        except SqlglotError:
            raise Index from None
        path = parsed.expression
    if not isinstance(path, exp.JSONPath):
        raise Index
    names = []
    for part in path.expressions:
        if isinstance(part, exp.JSONPathRoot):
            continue
        if not isinstance(part, exp.JSONPathKey) or not isinstance(part.this, str):
            raise Index
        names.append(part.this)
    return tuple(names)
