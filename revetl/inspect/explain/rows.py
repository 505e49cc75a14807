"""The person's rows of a select before its WHERE: the same sources, joined so that no join drops a row.

The source with the person comes first, and the others are left-joined to it with a marker column, so that
each join becomes an ordinary condition: whether the marker is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from revetl.inspect.explain.source import words
from revetl.inspect.explain.trace import (
    Trace,
    TracedStep,
    TraceSource,
    conjuncts,
    tables_of,
)

_MARK = "revetl_there"


@dataclass(frozen=True)
class JoinTest:
    """A join as a condition: `test` is whether a row was found (or none, for an anti join); `reads` are the
    columns of the other side."""

    text: str
    test: exp.Expr
    reads: tuple[exp.Column, ...]
    alias: str


@dataclass
class Rows:
    """FROM and joins that keep every row of the person, the joins as conditions, and the rest of WHERE."""

    query: exp.Select
    joins: list[JoinTest] = field(default_factory=list)
    where: list[exp.Expr] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rows_before_where(trace: Trace, rung: TracedStep) -> Rows:
    """Return the person's rows of a select. Joins that can't be rearranged stay as they are, with a note."""
    select = rung.query
    assert isinstance(select, exp.Select)
    where = select.args.get("where")
    tests = conjuncts(where.this if where else None)
    if len(rung.sources) == 1:
        return Rows(_as_written(select), where=tests)
    order = _order(rung, tests)
    if order is None:
        return Rows(_as_written(select), where=tests, notes=["its joins were not analyzed"])
    first, rest = order[0][0], order[1:]
    query = exp.Select().from_(_plain(first))
    found = Rows(query, where=tests)
    for source, on in rest:
        _join(trace, found, source, on)
        found.where = [test for test in found.where if not any(test is used for used in on)]
    return found


def _as_written(select: exp.Select) -> exp.Select:
    query = exp.Select()
    if from_ := select.args.get("from_"):
        query.set("from_", from_.copy())
    query.set("joins", [join.copy() for join in select.args.get("joins") or ()])
    return query


def _order(rung: TracedStep, where: list[exp.Expr]) -> list[tuple[TraceSource, list[exp.Expr]]] | None:
    """Return the sources starting with the anchor, each with its join conditions. None if reordering them
    would change the query's meaning."""
    if rung.anchor is None or not all(source.is_simple for source in rung.sources):
        return None
    if any(source.join is not None and _is_odd(source.join) for source in rung.sources):
        return None
    free: list[TraceSource] = []
    for source in rung.sources:
        if not source.is_inner:
            break
        free.append(source)
    anchor = next((source for source in free if source.alias == rung.anchor), None)
    if anchor is None:
        return None
    pool = [
        test for source in free if source.join is not None for test in conjuncts(source.join.args.get("on"))
    ]
    # Joins may be written in WHERE: `from a, b where a.id = b.id`.
    ties = [test for test in where if len(tables_of(test)) > 1]
    waiting = [source for source in free if source is not anchor]
    order: list[tuple[TraceSource, list[exp.Expr]]] = [(anchor, [])]
    there = {anchor.alias}
    while waiting:
        source, on = _next(waiting, there, pool) or _next(waiting, there, ties) or (waiting[0], [])
        waiting.remove(source)
        there.add(source.alias)
        pool = [test for test in pool if not any(test is used for used in on)]
        order.append((source, on))
    order += [
        (source, conjuncts(source.join.args.get("on") if source.join else None))
        for source in rung.sources[len(free) :]
    ]
    return None if pool else order


def _is_odd(join: exp.Join) -> bool:
    return bool(join.args.get("method") or join.args.get("using") or join.args.get("match_condition"))


def _next(
    waiting: list[TraceSource], there: set[str], pool: list[exp.Expr]
) -> tuple[TraceSource, list[exp.Expr]] | None:
    """Return the first source with a condition that ties it to the present ones, and all such conditions."""
    for source in waiting:
        on = [
            test
            for test in pool
            if source.alias in (used := tables_of(test)) and used <= {*there, source.alias}
        ]
        if any(tables_of(test) & there for test in on):
            return source, on
    return None


def _plain(source: TraceSource) -> exp.Expr:
    return exp.alias_(exp.to_table(source.name, quoted=True), source.alias, table=True)


def _join(trace: Trace, found: Rows, source: TraceSource, on: list[exp.Expr]) -> None:
    kind = source.join.kind if source.join is not None else ""
    side = source.join.side if source.join is not None else ""
    test = exp.and_(*(each.copy() for each in on)) if on else exp.true()
    reads = tuple(each for part in on for each in part.find_all(exp.Column) if each.table != source.alias)
    name = trace.ladder.tables[source.name].name if source.name in trace.ladder.tables else source.name
    said = " AND ".join(words(each, trace.ladder.dialect) for each in on)
    text = f"{name} on {said}" if said else name
    if kind in ("SEMI", "ANTI"):
        inner = exp.select("1").from_(_plain(source)).where(test)
        there: exp.Expr = exp.Exists(this=inner)
        if kind == "ANTI":
            there = exp.not_(there)
        found.joins.append(JoinTest(f"{kind.lower()} join {text}", there, reads, source.alias))
        return
    if side in ("LEFT", "FULL"):
        found.query.join(_plain(source), on=test, join_type="left", copy=False)
        return
    marked = exp.select("*", exp.alias_(exp.true(), _MARK)).from_(exp.to_table(source.name, quoted=True))
    found.query.join(marked.subquery(source.alias), on=test, join_type="left", copy=False)
    there = exp.func("coalesce", exp.column(_MARK, table=source.alias), exp.false())
    found.joins.append(JoinTest(f"join {text}", there, reads, source.alias))
