"""Converts expressions of imported SQL to the package's models: event names, members of documents, and
timestamps through macros."""

from __future__ import annotations

import re

from sqlglot import exp

from revetl.importers.segment_sql.columns import BoundColumn, Columns
from revetl.importers.segment_sql.documents import MemberRead
from revetl.importers.segment_sql.jinja import Jinja, quoted
from revetl.importers.segment_sql.relations import Relation
from revetl.importers.segment_sql.timestamps import Moments
from revetl.importers.segment_sql.values import Values, is_temporal, literals_of

_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_OF_TEXTS = (exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.Lower, exp.Upper, exp.Trim, exp.DPipe)
_SNAKE = re.compile(r"[a-z0-9_%]*")


def write_expressions(root: exp.Expr, columns: Columns, jinja: Jinja) -> None:
    """Convert every expression of a query whose columns are bound."""
    values = Values(columns)
    moments = Moments(columns.source, values, jinja)
    for step in columns.steps:
        for name in list(step.scope.find_all(exp.Column)):
            bound = columns.of(name)
            if (
                bound is not None
                and bound.meaning in ("event", "event_text")
                and isinstance(bound.of, Relation)
            ):
                _name_event(columns, values, name, bound)
    nodes = list(root.walk(bfs=False))
    gone: set[int] = set()
    for node in reversed(nodes):
        if id(node) in gone:
            continue
        if isinstance(node, MemberRead):
            _check_elements(columns, node)
            _write_read(values, jinja, node, gone)
            continue
        made = moments.written(node)
        if made is None and isinstance(node, _COMPARED):
            made = _truth(values, node)
        if made is not None and made is not node:
            node.replace(made)


def _name_event(columns: Columns, values: Values, node: exp.Column, bound: BoundColumn) -> None:
    """Choose between `event`, in snake_case, and `event_text`, as it was sent, by the values it is compared
    with."""
    assert isinstance(bound.of, Relation)
    literals = literals_of(values, node) if bound.meaning == "event" else []
    sent = [each for each in literals if not _SNAKE.fullmatch(each.name)]
    if not sent:
        bound.of.use(node.name)
        return
    bound.of.use("event_text")
    parent = node.parent
    as_sent = exp.column("event_text", table=node.table or None)
    columns.bound_as(as_sent, bound)
    if len(sent) < len(literals) and isinstance(parent, exp.In) and parent.this is node:
        bound.of.use("event")
        others = [each for each in parent.expressions if each not in sent]
        either = exp.or_(
            exp.In(this=as_sent, expressions=[each.copy() for each in sent]),
            exp.In(this=node.copy(), expressions=[each.copy() for each in others]),
        )
        for column in either.find_all(exp.Column):
            columns.bound_as(column, bound)
        parent.replace(exp.paren(either, copy=False))
        return
    if len(sent) < len(literals):
        raise columns.source.refused(
            node,
            f"event is compared with '{sent[0].name}', which is not in snake_case, and with names in "
            "snake_case. Use the same form for all of them.",
        )
    if isinstance(parent, exp.Select) and node.arg_key == "expressions":
        node.replace(exp.alias_(as_sent, "event", copy=False))
    else:
        node.replace(as_sent)


def _check_elements(columns: Columns, node: MemberRead) -> None:
    """Reject array functions on a member: members are read as text or numbers, never as arrays."""
    kind = type(node.parent).__name__
    if kind.startswith(("Array", "JSON", "Explode", "ParseJSON")) or kind in (
        "SortArray",
        "Transform",
        "Filter",
    ):
        raise columns.source.refused(
            node, f"{'.'.join(node.path)} is used as an array, which cannot be translated. Remove it."
        )


def _write_read(values: Values, jinja: Jinja, node: MemberRead, gone: set[int]) -> None:
    """Replace a member of a document by the macro for its type."""
    place: exp.Expr = node
    cast: exp.Cast | None = None
    while isinstance(place.parent, exp.Paren | exp.Cast):
        if isinstance(place.parent, exp.Cast):
            if cast is not None:
                break
            cast = place.parent
        elif not isinstance(place.parent.parent, exp.Cast):
            break
        place = place.parent
        gone.add(id(place))
    kind = _cast_kind(cast) if cast is not None else _kind(values, node)
    place.replace(_member(values, jinja, node, kind, cast))


def _kind(values: Values, node: MemberRead) -> str:
    planned, wanted = values.kind(node), values.wanted(node)
    if isinstance(node.parent, exp.Is) and isinstance(node.parent.expression, exp.Null):
        return "text"
    if node.text("to"):
        return node.text("to")
    if planned == "number" and wanted != "boolean" and not isinstance(node.parent, _OF_TEXTS):
        return "number"
    return "moment" if wanted in ("today", "shifted", "date") else wanted or planned or "text"


def _cast_kind(cast: exp.Cast) -> str:
    if cast.to.is_type(*exp.DataType.NUMERIC_TYPES):
        return "number"
    if is_temporal(cast.to):
        return "date" if cast.to.is_type("date") else "moment"
    return "boolean" if cast.to.is_type("boolean") else "text"


def _member(values: Values, jinja: Jinja, node: MemberRead, kind: str, cast: exp.Cast | None) -> exp.Expr:
    document, path = node.this, node.path
    name = quoted(".".join(path))
    if kind == "number" and len(path) == 1:
        made: exp.Expr = jinja.call("json_decimal", document, name)
    else:
        reader = "json_text" if len(path) == 1 else "json_path_text"
        made = jinja.call(reader, document, name)
        if kind == "number":
            made = jinja.call("decimal_of", made)
    if kind in ("moment", "date", "today", "shifted"):
        made = jinja.call("time_of", made)
        if kind == "date":
            made = jinja.call("start_of", quoted("day"), made)
        return values.tell(made, "date" if kind == "date" else "moment")
    if kind == "boolean":
        return values.tell(exp.paren(exp.EQ(this=made, expression=exp.Literal.string("true"))), "truth")
    if kind == "number" and cast is not None and _is_narrow(cast.to):
        made = exp.Cast(this=made, to=cast.to)
    return values.tell(made, "number" if kind == "number" else "text")


def _is_narrow(to: exp.DataType) -> bool:
    """Whether a cast to this numeric type also changes the value."""
    return to.is_type(*exp.DataType.INTEGER_TYPES) or bool(to.expressions)


def _truth(values: Values, node: exp.Expr) -> exp.Expr | None:
    """Convert comparisons of a document's boolean with TRUE or FALSE, and of a number with a text."""
    for read, other in ((node.this, node.expression), (node.expression, node.this)):
        if values.kind(read) == "truth" and isinstance(other, exp.Boolean):
            text = read.this.this
            word = exp.Literal.string("true" if other.this else "false")
            return type(node)(this=text, expression=word)
        is_text = isinstance(other, exp.Literal) and other.is_string
        if is_text and values.kind(read) == "number" and re.fullmatch(r"-?\d+(\.\d+)?", other.name):
            other.replace(exp.Literal.number(other.name))
    return None
