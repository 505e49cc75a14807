"""Convert between conditions and bits, which T-SQL doesn't do implicitly."""

from __future__ import annotations

from sqlglot import exp

from revetl.warehouse.engine import replaced

_CONDITIONS = (exp.Predicate, exp.And, exp.Or, exp.Not, exp.RegexpLike, exp.Boolean)


def conditioned(sql: exp.Expr) -> exp.Expr:
    """Return a copy of a statement with conditions used as values converted to bits, and values used as
    conditions converted to comparisons."""
    return replaced(replaced(sql, _as_bit), _as_condition)


def _as_bit(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Coalesce) and (otherwise := _or_else(node)) is not None:
        # Never null: `else` covers the other value and null.
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
    """Return the default of `coalesce(condition, true)` or `false`; None for other expressions."""
    if not isinstance(node, exp.Coalesce) or len(node.expressions) != 1:
        return None
    (fallback,) = node.expressions
    condition = node.this.unnest()
    is_one = isinstance(condition, _CONDITIONS) and isinstance(fallback, exp.Boolean)
    return bool(fallback.this) if is_one else None


def _is_part(node: exp.Expr) -> bool:
    """Whether a condition is part of another construct: an assignment of an UPDATE, or inside `_or_else`."""
    parent = node.parent
    return isinstance(parent, exp.Update) or (parent is not None and _or_else(parent) is not None)


def _bit(whens: dict[exp.Expr, int], otherwise: int | None = None) -> exp.Expr:
    ifs = [exp.If(this=test, true=exp.convert(bit)) for test, bit in whens.items()]
    default = None if otherwise is None else exp.convert(otherwise)
    return exp.cast(exp.Case(ifs=ifs, default=default), "bit")


def _is_wanted(node: exp.Expr) -> bool:
    """Whether a node is where T-SQL requires a condition."""
    place, parent = node, node.parent
    while isinstance(parent, exp.Paren):
        place, parent = parent, parent.parent
    if isinstance(parent, exp.If) and place.arg_key == "this":
        # In `case value when ...`, it is a value.
        return not (isinstance(parent.parent, exp.Case) and parent.parent.this)
    if isinstance(parent, exp.Join | exp.Merge):
        return place.arg_key == "on"
    if isinstance(parent, exp.When):
        return place.arg_key == "condition"
    return isinstance(parent, exp.And | exp.Or | exp.Not | exp.Where | exp.Having)
