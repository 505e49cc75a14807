"""UPDATE, DELETE and MERGE where rows cannot be changed: as the query of what the table holds after.

Parquet tables of Spark are such; tables of Delta, Iceberg or Hudi are sent the statement itself.
"""

from __future__ import annotations

from sqlglot import exp

from revetl.sql import statement

_MATCHED = "revetl_matched"


def rewritten(change: exp.Expr, columns: list[str]) -> tuple[exp.Table, exp.Query] | None:
    """The table of an UPDATE, DELETE or MERGE, and the query of its rows after it in the order of `columns`;
    None for any other statement."""
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
    """A condition that is not null."""
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


def _merged(change: exp.Merge, columns: list[str]) -> exp.Query:
    target, source, on = change.this, change.args["using"], change.args["on"]
    assert isinstance(target, exp.Table)
    assert isinstance(source, exp.Subquery)
    marked = exp.Subquery(
        this=exp.select("*", exp.alias_(exp.convert(1), _MATCHED)).from_(_source_of(source)),
        alias=source.args["alias"],
    )
    is_matched = statement(":mark is not null", mark=exp.column(_MATCHED, table=source.alias))
    clauses = change.args["whens"].expressions
    updates: list[tuple[exp.Expr, dict[str, exp.Expr]]] = []
    deletes: list[exp.Expr] = []
    inserts: list[exp.When] = []
    for clause in clauses:
        if not clause.args.get("matched"):
            inserts.append(clause)
            continue
        condition = clause.args.get("condition")
        test = is_matched.copy() if condition is None else exp.and_(is_matched.copy(), _holds(condition))
        then = clause.args["then"]
        if isinstance(then, exp.Update):
            # The first clause that applies is the one that does.
            earlier = [exp.not_(exp.paren(each.copy())) for each in deletes]
            updates.append((exp.and_(test, *earlier), _assignments(then.expressions)))
        else:
            deletes.append(test)
    after = {name: _value_after(name, target.alias_or_name, updates) for name in columns}
    kept = exp.select(*(exp.alias_(value, name, quoted=True) for name, value in after.items()))
    kept = kept.from_(target.copy())
    kept = kept.join(marked.copy(), on=on.copy(), join_type="left")
    if deletes:
        kept = kept.where(exp.not_(exp.paren(exp.or_(*(each.copy() for each in deletes)))))
    parts = [kept, *(_inserted(clause, target, source, on, columns) for clause in inserts)]
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
    """What of the source has no match, in the columns of the target."""
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
