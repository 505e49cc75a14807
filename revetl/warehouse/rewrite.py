"""Rewrite UPDATE, DELETE and MERGE for engines that don't support them fully.

For tables whose rows can't be changed (Spark's Parquet tables, but not Delta, Iceberg or Hudi): a query of
the resulting rows. For a MERGE without support for conditions: a query, a DELETE and an INSERT. For a DELETE
or UPDATE without support for nested queries: a MERGE.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from revetl.warehouse.templates import statement

_MATCHED = "revetl_matched"
_VALUE = "revetl_value"


def rewritten(change: exp.Expr, columns: list[str]) -> tuple[exp.Table, exp.Query] | None:
    """Return the table of an UPDATE, DELETE or MERGE, and a query of its resulting rows in the order of
    `columns`; None for other statements."""
    if isinstance(change, exp.Delete):
        return change.this, _kept(change.this, change.args.get("where"))
    if isinstance(change, exp.Update):
        return change.this, _updated(change, columns)
    if isinstance(change, exp.Merge):
        return _plain(change.this), _merged(change, columns)
    return None


def _plain(relation: exp.Expr) -> exp.Table:
    found = relation.copy()
    assert isinstance(found, exp.Table)
    found.set("alias", None)
    return found


def _holds(condition: exp.Expr) -> exp.Expr:
    """Return a condition that is false instead of null."""
    return exp.func("coalesce", exp.paren(condition.copy()), exp.false())


def _kept(relation: exp.Expr, where: exp.Expr | None) -> exp.Query:
    if where is None:
        return exp.select("*").from_(relation.copy()).where("1 = 0")
    return exp.select("*").from_(relation.copy()).where(exp.not_(_holds(where.this)))


def _updated(change: exp.Update, columns: list[str]) -> exp.Query:
    values = _assignments(change.expressions)
    where = change.args.get("where")
    test = exp.true() if where is None else _holds(where.this)
    return exp.select(
        *(
            exp.alias_(
                exp.Case(
                    ifs=[exp.If(this=test.copy(), true=values[name.lower()])],
                    default=exp.column(name, quoted=True),
                ),
                name,
                quoted=True,
            )
            if name.lower() in values
            else exp.column(name, quoted=True)
            for name in columns
        )
    ).from_(change.this.copy())


@dataclass
class _Clauses:
    """The clauses of a MERGE: non-null conditions on matched rows with their updates or deletes, and
    inserts."""

    updates: list[tuple[exp.Expr, dict[str, exp.Expr]]] = field(default_factory=list)
    deletes: list[exp.Expr] = field(default_factory=list)
    inserts: list[exp.When] = field(default_factory=list)

    @classmethod
    def of(cls, change: exp.Merge, is_matched: exp.Expr) -> _Clauses:
        """Return the clauses of a MERGE; `is_matched` is whether a row of the table matches the source."""
        found = cls()
        for clause in change.args["whens"].expressions:
            if not clause.args.get("matched"):
                found.inserts.append(clause)
                continue
            condition = clause.args.get("condition")
            test = is_matched.copy() if condition is None else exp.and_(is_matched.copy(), _holds(condition))
            then = clause.args["then"]
            if isinstance(then, exp.Update):
                # Only the first applicable clause is executed.
                earlier = [exp.not_(exp.paren(each.copy())) for each in found.deletes]
                found.updates.append((exp.and_(test, *earlier), _assignments(then.expressions)))
            else:
                found.deletes.append(test)
        return found


def _merged(change: exp.Merge, columns: list[str]) -> exp.Query:
    target, source, on = change.this, change.args["using"], change.args["on"]
    assert isinstance(target, exp.Table)
    assert isinstance(source, exp.Subquery)
    clauses = _Clauses.of(change, _is_matched(source))
    kept = _joined(target, source, on, columns, clauses, "left")
    if clauses.deletes:
        kept = kept.where(exp.not_(exp.paren(exp.or_(*(each.copy() for each in clauses.deletes)))))
    return _and_inserted(kept, clauses, target, source, on, columns)


def in_parts(
    change: exp.Merge, columns: list[str], made: exp.Table
) -> tuple[exp.Query, exp.Delete, exp.Insert]:
    """Split a MERGE into a query of updated and inserted rows, in the order of `columns`; a DELETE of
    replaced and deleted rows; and an INSERT from the table `made`, which must contain the query's result. Run
    the last two in one transaction."""
    target, source, on = change.this, change.args["using"], change.args["on"]
    assert isinstance(target, exp.Table)
    assert isinstance(source, exp.Subquery)
    clauses = _Clauses.of(change, _is_matched(source))
    updated = _joined(target, source, on, columns, clauses, "inner").where(
        exp.or_(exp.false(), *(exp.paren(test.copy()) for test, _ in clauses.updates))
    )
    rows = _and_inserted(updated, clauses, target, source, on, columns)
    name = _plain(target)

    def under_its_name(node: exp.Expr) -> exp.Expr:
        # Not every engine supports an alias in DELETE.
        if isinstance(node, exp.Column) and node.table == target.alias_or_name:
            return exp.column(node.name, table=name.name, quoted=True)
        return node

    affected = _Clauses.of(change, exp.true())
    tests = [*(test for test, _ in affected.updates), *affected.deletes]
    there = exp.select("1").from_(source.copy()).where(on.copy()).where(exp.or_(*tests))
    gone = exp.Delete(this=name, where=exp.Where(this=exp.Exists(this=there.transform(under_its_name))))
    names = [exp.to_identifier(each, quoted=True) for each in columns]
    into = exp.Schema(this=name.copy(), expressions=names)
    again = exp.select(*(exp.column(each, quoted=True) for each in columns)).from_(made.copy())
    return rows, gone, exp.Insert(this=into, expression=again)


def as_merge(change: exp.Expr) -> exp.Expr:
    """Rewrite a DELETE or UPDATE with a nested query in its condition as a MERGE with the query's values.
    Other statements are unchanged."""
    where = change.args.get("where") if isinstance(change, exp.Delete | exp.Update) else None
    tests = list(where.this.flatten()) if where is not None and isinstance(where.this, exp.And) else []
    nested = [each for each in tests if isinstance(each, exp.In) and _is_nested(each.args.get("query"))]
    if not nested:
        return change
    (listed,) = nested
    target = change.this.copy()
    target.set("alias", exp.TableAlias(this=exp.to_identifier("revetl_target", quoted=True)))
    inner = listed.args["query"].this
    values = exp.Subquery(this=inner.copy(), alias=exp.TableAlias(this=exp.to_identifier("revetl_inner")))
    first = exp.column(inner.named_selects[0], table="revetl_inner", quoted=True)
    source = exp.select(exp.alias_(first, _VALUE, quoted=True)).distinct().from_(values)

    def of_target(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table:
            return exp.column(node.name, table="revetl_target", quoted=True)
        return node

    same = exp.EQ(this=listed.this.copy(), expression=exp.column(_VALUE, table="revetl_source", quoted=True))
    others = [each.copy() for each in tests if each is not listed]
    then: exp.Expr = exp.Var(this="DELETE")
    if isinstance(change, exp.Update):
        sets = [
            exp.EQ(this=each.this.copy(), expression=each.expression.transform(of_target))
            for each in change.expressions
        ]
        then = exp.Update(expressions=sets)
    alias = exp.TableAlias(this=exp.to_identifier("revetl_source", quoted=True))
    return exp.Merge(
        this=target,
        using=exp.Subquery(this=source, alias=alias),
        on=exp.and_(*(each.transform(of_target) for each in (*others, same))),
        whens=exp.Whens(expressions=[exp.When(matched=True, then=then)]),
    )


def _is_nested(query: exp.Expr | None) -> bool:
    return query is not None and len(list(query.find_all(exp.Select))) > 1


def _is_matched(source: exp.Subquery) -> exp.Expr:
    return statement(":mark is not null", mark=exp.column(_MATCHED, table=source.alias))


def _joined(
    target: exp.Table, source: exp.Subquery, on: exp.Expr, columns: list[str], clauses: _Clauses, side: str
) -> exp.Select:
    """Join the table's rows, with their resulting values, to the source."""
    marked = exp.Subquery(
        this=exp.select("*", exp.alias_(exp.convert(1), _MATCHED)).from_(_source_of(source)),
        alias=source.args["alias"],
    )
    after = {name: _value_after(name, target.alias_or_name, clauses.updates) for name in columns}
    kept = exp.select(*(exp.alias_(value, name, quoted=True) for name, value in after.items()))
    return kept.from_(target.copy()).join(marked, on=on.copy(), join_type=side)


def _and_inserted(
    kept: exp.Select,
    clauses: _Clauses,
    target: exp.Table,
    source: exp.Subquery,
    on: exp.Expr,
    columns: list[str],
) -> exp.Query:
    parts = [kept, *(_inserted(clause, target, source, on, columns) for clause in clauses.inserts)]
    return parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)


def _source_of(source: exp.Subquery) -> exp.Expr:
    inner = source.copy()
    inner.set("alias", exp.TableAlias(this=exp.to_identifier("revetl_source")))
    return inner


def _value_after(name: str, alias: str, updates: list[tuple[exp.Expr, dict[str, exp.Expr]]]) -> exp.Expr:
    before: exp.Expr = exp.column(name, table=alias, quoted=True)
    ifs = [
        exp.If(this=test.copy(), true=values[name.lower()].copy())
        for test, values in updates
        if name.lower() in values
    ]
    return exp.Case(ifs=ifs, default=before) if ifs else before


def _inserted(
    clause: exp.When, target: exp.Table, source: exp.Subquery, on: exp.Expr, columns: list[str]
) -> exp.Select:
    """Select the source's rows without a match, in the columns of the target."""
    then = clause.args["then"]
    names = [each.name.lower() for each in then.this.expressions]
    values = dict(zip(names, then.expression.expressions, strict=True))
    fresh = exp.select(
        *(exp.alias_(values.get(name.lower(), exp.null()).copy(), name, quoted=True) for name in columns)
    ).from_(source.copy())
    there = exp.select("1").from_(target.copy()).where(on.copy())
    fresh = fresh.where(exp.not_(exp.Exists(this=there)))
    condition = clause.args.get("condition")
    return fresh if condition is None else fresh.where(condition.copy())


def _assignments(expressions: list[exp.Expr]) -> dict[str, exp.Expr]:
    return {each.this.name.lower(): each.expression for each in expressions}


def told_apart(node: exp.NullSafeEQ | exp.NullSafeNEQ) -> exp.Expr:
    """Compare two values with nulls equal; the result is never null. For engines without IS DISTINCT FROM."""
    left, right = node.this, node.expression
    nulls = [exp.Is(this=each.copy(), expression=exp.null()) for each in (left, right)]
    same = exp.or_(exp.EQ(this=left.copy(), expression=right.copy()), exp.paren(exp.and_(*nulls)))
    as_number = exp.Case(ifs=[exp.If(this=same, true=exp.convert(1))], default=exp.convert(0))
    return exp.EQ(this=as_number, expression=exp.convert(int(isinstance(node, exp.NullSafeEQ))))
