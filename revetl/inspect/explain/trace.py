"""Follows one person through the steps of a query, from the final select down to the tables.

Each step gets a *handle*: the condition on its output that selects the person's rows. The final select's
handle is its key; a step's handle is converted to its source's by substituting the expressions of the select
list for the columns. Where that isn't possible (the key is an aggregate, or comes from another side of a
join), the person's identifiers are used if the source has columns for them, and otherwise the join itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from revetl.errors import WarehouseError
from revetl.inspect.explain.answer import Person
from revetl.inspect.explain.person import PROFILE, among, naming
from revetl.inspect.explain.source import QueryLadder
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column

FINAL = "final select"
"""The name of the last step."""


@dataclass(frozen=True)
class TraceSource:
    """A step or table that a select reads under an alias. `join` is None for the first; `is_simple` is false
    for anything but plain relations (`unnest`, a lateral join)."""

    alias: str
    name: str
    join: exp.Join | None
    is_simple: bool

    @property
    def is_inner(self) -> bool:
        """Whether it can be reordered among inner joins without changing the meaning."""
        join = self.join
        return join is None or not (
            join.side or join.args.get("method") or join.kind not in ("", "INNER", "CROSS")
        )


@dataclass
class TracedStep:
    """A step in the trace. `handle` is over its own columns, `local` over those of its sources; `anchor` is
    the alias of the only source that `local` reads."""

    name: str
    query: exp.Query | None
    handle: exp.Expr | None
    local: exp.Expr | None = None
    anchor: str | None = None
    sources: tuple[TraceSource, ...] = ()
    reads: dict[str, str] = field(default_factory=dict)
    """Maps an alias, or a part of a set operation, to the name of its rung."""
    rows: int | None = None
    problem: str | None = None


class Trace:
    """The rungs of a ladder by name, inputs first."""

    def __init__(self, ladder: QueryLadder, key: str, person: Person) -> None:
        self.ladder = ladder
        self.person = person
        self.rungs: dict[str, TracedStep] = {}
        self._open: set[str] = set()
        columns = {each.lower(): each for each in ladder.root.named_selects}
        handle: exp.Expr | None = None
        if person.keys and key.lower() in columns:
            handle = among(column(columns[key.lower()]), person.keys)
        elif PROFILE in columns:
            handle = naming(person.identities, columns.values())
        self.root = self._visit(FINAL, ladder.root, handle)

    def _visit(self, name: str, query: exp.Query | None, handle: exp.Expr | None) -> TracedStep:
        if name in self.rungs:
            return self.rungs[name]
        bare = query.unnest() if isinstance(query, exp.Subquery) else query
        query = bare if isinstance(bare, exp.Query) else None
        rung = TracedStep(name, query, handle)
        self._open.add(name)
        if isinstance(query, exp.SetOperation):
            self._branches(rung, query)
        elif isinstance(query, exp.Select):
            self._select(rung, query)
        self._open.remove(name)
        self.rungs[name] = rung
        return rung

    def _branches(self, rung: TracedStep, query: exp.SetOperation) -> None:
        for part, word, where in ((query.left, "first", "before"), (query.right, "second", "after")):
            branch = part.unnest() if isinstance(part, exp.Subquery) else part
            if not isinstance(branch, exp.Query):
                continue
            pairs = dict(zip(query.named_selects, branch.named_selects, strict=False))
            handle = None if rung.handle is None else _renamed(rung.handle, pairs)
            child = self._visit(f"{rung.name}: {where} {query.key}", branch, handle)
            rung.reads[word] = child.name

    def _select(self, rung: TracedStep, query: exp.Select) -> None:
        rung.sources = _sources(query)
        by_alias = {source.alias: source for source in rung.sources}
        rung.local = None if rung.handle is None else _pushed(rung.handle, query)
        if rung.local is not None:
            rung.local = _of_first(rung.local, by_alias)
        if rung.local is not None:
            used = {each.table for each in rung.local.find_all(exp.Column)}
            rung.anchor = used.pop() if len(used) == 1 else None
        else:
            self._anchor_by_name(rung)
        if rung.anchor not in by_alias or not by_alias[rung.anchor].is_simple:
            rung.anchor = None
        order = sorted(rung.sources, key=lambda source: source.alias != rung.anchor)
        for source in order:
            if not source.is_simple or not (source.is_inner or source.alias == rung.anchor):
                continue
            if source.name in self._open:
                # A recursive CTE is counted, but not followed into itself.
                continue
            handle = self._source_handle(rung, source, query)
            child = self._visit(source.name, self.ladder.ctes.get(source.name), handle)
            rung.reads[source.alias] = child.name

    def _anchor_by_name(self, rung: TracedStep) -> None:
        for source in rung.sources:
            test = naming(self.person.identities, self.ladder.columns.get(source.name, ()))
            if test is not None and source.is_simple:
                rung.anchor = source.alias
                rung.local = _qualified(test, source.alias)
                return

    def _source_handle(self, rung: TracedStep, source: TraceSource, query: exp.Select) -> exp.Expr | None:
        if source.alias == rung.anchor and rung.local is not None:
            return unqualified(rung.local)
        by_name = naming(self.person.identities, self.ladder.columns.get(source.name, ()))
        if by_name is not None or rung.anchor is None:
            return by_name
        # No column there identifies the person: use the rows that the join would match.
        for test in conjuncts_of(query):
            if not isinstance(test, exp.EQ):
                continue
            for mine, other in ((test.left, test.right), (test.right, test.left)):
                if tables_of(mine) == {source.alias} and tables_of(other) == {rung.anchor}:
                    anchor = self.rungs.get(rung.reads.get(rung.anchor, ""))
                    if anchor is None or anchor.handle is None:
                        return None
                    found = (
                        exp.select(unqualified(other))
                        .from_(self.relation(anchor))
                        .where(anchor.handle.copy())
                    )
                    return exp.In(this=unqualified(mine), query=exp.Subquery(this=found))
        return None

    def relation(self, rung: TracedStep) -> exp.Expr:
        """Return what a query selects from to read a rung's output."""
        if rung.name in self.ladder.ctes or rung.name in self.ladder.tables:
            return exp.Table(this=exp.to_identifier(rung.name, quoted=rung.name in self.ladder.ctes))
        assert rung.query is not None
        return exp.Subquery(
            this=rung.query.copy(), alias=exp.TableAlias(this=exp.to_identifier("revetl_step"))
        )

    def count(self, warehouse: Warehouse) -> None:
        """Count the person's rows in every rung: in a single statement or, if that fails, one by one."""
        self._count([rung for rung in self.rungs.values() if rung.handle is not None], warehouse)
        if self.person.is_resolved or any(rung.rows for rung in self.rungs.values()):
            return
        # Nothing found so far: check tables that the trace didn't reach.
        unseen: list[TracedStep] = []
        for name in self.ladder.tables.keys() - self.rungs.keys():
            test = naming(self.person.identities, self.ladder.columns[name])
            if test is not None:
                unseen.append(TracedStep(name, None, test))
        self._count(unseen, warehouse)
        self.rungs = {**{rung.name: rung for rung in unseen if rung.rows}, **self.rungs}

    def _count(self, asked: list[TracedStep], warehouse: Warehouse) -> None:
        if not asked:
            return
        try:
            counts = self._counts(asked, warehouse)
        except WarehouseError:
            counts = []
            for rung in asked:
                try:
                    counts += self._counts([rung], warehouse)
                except WarehouseError as error:
                    rung.problem = str(error)
                    counts.append(None)
        for rung, count in zip(asked, counts, strict=True):
            rung.rows = count

    def _counts(self, rungs: list[TracedStep], warehouse: Warehouse) -> list[int | None]:
        counted: list[exp.Expr] = []
        for index, rung in enumerate(rungs):
            assert rung.handle is not None
            query = exp.select("count(*)").from_(self.relation(rung)).where(rung.handle.copy())
            counted.append(exp.alias_(exp.Subquery(this=query), f"n{index}"))
        ((*counts,),) = warehouse.rows(self.ladder.asking(exp.select(*counted)))
        return [int(count) for count in counts]


def conjuncts(expression: exp.Expr | None) -> list[exp.Expr]:
    """Split an expression into the conditions joined by AND."""
    if expression is None:
        return []
    bare = expression.unnest() if isinstance(expression, exp.Paren) else expression
    if isinstance(bare, exp.And):
        return [*conjuncts(bare.left), *conjuncts(bare.right)]
    return [bare]


def conjuncts_of(query: exp.Select) -> list[exp.Expr]:
    """Return the conditions of WHERE and of every join."""
    where = query.args.get("where")
    found = conjuncts(where.this if where else None)
    for join in query.args.get("joins") or ():
        found += conjuncts(join.args.get("on"))
    return found


def tables_of(expression: exp.Expr) -> set[str]:
    """Return the aliases whose columns an expression reads."""
    return {each.table for each in expression.find_all(exp.Column)}


def unqualified(expression: exp.Expr) -> exp.Expr:
    """Return the expression with unqualified columns."""

    def strip(node: exp.Expr) -> exp.Expr:
        return exp.column(node.this.copy()) if isinstance(node, exp.Column) else node

    return expression.copy().transform(strip)


def _qualified(expression: exp.Expr, alias: str) -> exp.Expr:
    def place(node: exp.Expr) -> exp.Expr:
        return exp.column(node.this.copy(), table=alias) if isinstance(node, exp.Column) else node

    return expression.copy().transform(place)


def _renamed(handle: exp.Expr, names: Mapping[str, str]) -> exp.Expr:
    def rename(node: exp.Expr) -> exp.Expr:
        return column(names.get(node.name, node.name)) if isinstance(node, exp.Column) else node

    return handle.copy().transform(rename)


def _pushed(handle: exp.Expr, query: exp.Select) -> exp.Expr | None:
    """Convert a handle to the columns of a select's sources; None if it depends on several rows."""
    selected = {each.alias_or_name.lower(): each.unalias() for each in query.selects}
    possible = True

    def replace(node: exp.Expr) -> exp.Expr:
        nonlocal possible
        if not isinstance(node, exp.Column):
            return node
        found = selected.get(node.name.lower())
        if found is None or found.find(exp.AggFunc, exp.Window, exp.Query, exp.Star):
            possible = False
            return node
        return found.copy()

    # A subquery in a handle has its own columns.
    if handle.find(exp.Query):
        inner = handle.find(exp.In)
        if inner is None or inner is not handle:
            return None
        subject = _pushed(inner.this, query)
        return None if subject is None else exp.In(this=subject, query=inner.args["query"].copy())
    pushed = handle.copy().transform(replace)
    return pushed if possible and tables_of(pushed) else None


def _of_first(local: exp.Expr, sources: Mapping[str, TraceSource]) -> exp.Expr:
    """Resolve columns shared by `using` joins to the first side."""

    def first(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Coalesce):
            return node
        columns = [node.this, *node.expressions]
        if not all(isinstance(each, exp.Column) and each.name == node.this.name for each in columns):
            return node
        found = [sources[each.table] for each in columns if each.table in sources]
        keep_the_first = all(
            each.is_inner or (each.join is not None and each.join.side == "LEFT") for each in found
        )
        return node.this.copy() if keep_the_first and len(found) == len(columns) else node

    return local.transform(first)


def _sources(query: exp.Select) -> tuple[TraceSource, ...]:
    from_ = query.args.get("from_")
    if from_ is None:
        return ()
    found = [_source(from_.this, None)]
    found += [_source(join.this, join) for join in query.args.get("joins") or ()]
    return tuple(found)


def _source(relation: exp.Expr, join: exp.Join | None) -> TraceSource:
    plain = isinstance(relation, exp.Table) and isinstance(relation.this, exp.Identifier)
    plain = plain and not (
        relation.args.get("joins") or relation.args.get("pivots") or relation.args.get("sample")
    )
    return TraceSource(relation.alias_or_name, relation.name if plain else "", join, plain)
