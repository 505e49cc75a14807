"""Conditions and values where one is not the other: in T-SQL a condition is no bit, nor a bit a condition."""

from __future__ import annotations

from sqlglot import exp

from revetl.warehouse.engine import replaced

_CONDITIONS = (exp.Predicate, exp.And, exp.Or, exp.Not, exp.RegexpLike, exp.Boolean)


def conditioned(sql: exp.Expr) -> exp.Expr:
    """A copy of a statement with each condition that stands in a value's place as a bit, and each value that
    stands in a condition's place as a comparison."""
    return replaced(replaced(sql, _as_bit), _as_condition)


def _as_bit(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Coalesce) and (otherwise := _or_else(node)) is not None:
        # One that knows no null: `else` is for both.
        test = node.this if not otherwise else exp.not_(exp.paren(node.this))
        return _bit({test: 0 if otherwise else 1}, int(otherwise))
    if not isinstance(node, _CONDITIONS) or _is_wanted(node) or _is_part(node):
        return node
    if isinstance(node, exp.Boolean):
        return exp.cast(exp.convert(int(node.this)), "bit")
    return _bit({node.copy(): 1, exp.not_(exp.paren(node.copy())): 0})


def _as_condition(node: exp.Expr) -> exp.Expr:
    if isinstance(node, (*_CONDITIONS, exp.Paren)) or not _is_wanted(node):
        return node
    return exp.EQ(this=node.copy(), expression=exp.convert(1))


def _or_else(node: exp.Expr) -> bool | None:
    """What `coalesce(condition, true)` and its like have for null; None of any other."""
    if not isinstance(node, exp.Coalesce) or len(node.expressions) != 1:
        return None
    (fallback,) = node.expressions
    condition = node.this.unnest()
    is_one = isinstance(condition, _CONDITIONS) and isinstance(fallback, exp.Boolean)
    return bool(fallback.this) if is_one else None


def _is_part(node: exp.Expr) -> bool:
    """Whether a condition is none by itself: an assignment of an UPDATE, or half of what `_or_else` takes."""
    parent = node.parent
    return isinstance(parent, exp.Update) or (parent is not None and _or_else(parent) is not None)


def _bit(whens: dict[exp.Expr, int], otherwise: int | None = None) -> exp.Expr:
    ifs = [exp.If(this=test, true=exp.convert(bit)) for test, bit in whens.items()]
    default = None if otherwise is None else exp.convert(otherwise)
    return exp.cast(exp.Case(ifs=ifs, default=default), "bit")


def _is_wanted(node: exp.Expr) -> bool:
    """Whether a condition has to stand where a node does."""
    place, parent = node, node.parent
    while isinstance(parent, exp.Paren):
        place, parent = parent, parent.parent
    if isinstance(parent, exp.If) and place.arg_key == "this":
        # Of `case value when ...`, it is one of the values.
        return not (isinstance(parent.parent, exp.Case) and parent.parent.this)
    if isinstance(parent, exp.Join | exp.Merge):
        return place.arg_key == "on"
    if isinstance(parent, exp.When):
        return place.arg_key == "condition"
    return isinstance(parent, exp.And | exp.Or | exp.Not | exp.Where | exp.Having)
