"""Evaluates the conditions of a step for the person, with the values they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlglot import exp

from revetl.errors import WarehouseError
from revetl.inspect.explain.answer import Condition
from revetl.inspect.explain.rows import rows_before_where
from revetl.inspect.explain.source import words
from revetl.inspect.explain.trace import (
    Trace,
    TracedStep,
    conjuncts,
    tables_of,
)
from revetl.warehouse import Warehouse

MOST_ROWS = 1_000
"""The maximum number of a person's rows to examine per step."""

_COMPARED = (
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Like,
    exp.ILike,
    exp.In,
    exp.Between,
    exp.Is,
)
_WHOLE = (exp.AggFunc, exp.Window, exp.Filter, exp.WithinGroup)
"""Expressions shown as a whole instead of their columns."""
NOT_REACHED = "not reached"
_LONGEST = 40
_NULL_IN_LIST = "the list contains a null, so 'not in' is never true"


@dataclass
class _Asked:
    """The expressions of one statement, by position."""

    expressions: list[exp.Expr] = field(default_factory=list)

    def add(self, expression: exp.Expr) -> int:
        for place, known in enumerate(self.expressions):
            if known == expression:
                return place
        self.expressions.append(expression)
        return len(self.expressions) - 1


@dataclass
class _Test:
    """A condition to evaluate: the positions of its truth value and of its values among the expressions."""

    kind: str
    text: str
    place: int | None = None
    values: dict[str, int] = field(default_factory=dict)
    operator: str | None = None
    parts: list[_Test] = field(default_factory=list)
    when_null: str = "null"


def judge(trace: Trace, rung: TracedStep, warehouse: Warehouse) -> tuple[list[Condition], list[str]]:
    """Evaluate the conditions of a rung for the person; returns notes about parts that weren't analyzed."""
    if isinstance(rung.query, exp.SetOperation):
        return _set_operation(trace, rung), []
    if not isinstance(rung.query, exp.Select):
        return [], []
    return _Judge(trace, rung, rung.query, warehouse).judge()


class _Judge:
    """Evaluates one select's clauses in the order in which the engine does."""

    def __init__(self, trace: Trace, rung: TracedStep, select: exp.Select, warehouse: Warehouse) -> None:
        self.trace, self.rung, self.select, self.warehouse = trace, rung, select, warehouse
        self.dialect = trace.ladder.dialect
        self.conditions: list[Condition] = []
        self.notes: list[str] = []

    def judge(self) -> tuple[list[Condition], list[str]]:
        passes = self._before_group()
        for kind, ask in (("having", self._having), ("qualify", self._qualify), ("limit", self._limit)):
            if (clause := self.select.args.get(kind)) is None:
                continue
            if not passes:
                self.conditions += [
                    Condition(kind, text, note=NOT_REACHED) for text in self._texts(kind, clause)
                ]
                continue
            ask(clause)
            passes = all(each.holds for each in self.conditions)
        distinct = self.select.args.get("distinct")
        if distinct is not None and distinct.args.get("on"):
            self.notes.append("its DISTINCT ON was not analyzed")
        return self.conditions, self.notes

    def _texts(self, kind: str, clause: exp.Expr) -> list[str]:
        if kind == "limit":
            return [self._limit_text()]
        return [words(each, self.dialect) for each in conjuncts(clause.this)]

    def _before_group(self) -> bool:
        """Evaluate WHERE and the joins. Returns whether a row of the person passes them."""
        found = rows_before_where(self.trace, self.rung)
        self.notes += found.notes
        asked = _Asked()
        tests = [
            _Test(
                "join",
                join.text,
                asked.add(join.test),
                {self._label(each): asked.add(each) for each in join.reads},
            )
            for join in found.joins
        ]
        tests += [self._test("where", each, asked) for each in found.where]
        if not tests:
            return self.rung.rows != 0 or self._source_rows() != 0
        if self.rung.local is None:
            self.notes.append(
                "it has no column that identifies the person, so its conditions were not analyzed"
            )
            self.conditions += [_unjudged(test, "not analyzed") for test in tests]
            return True
        if self._source_rows() == 0:
            self.conditions += [_unjudged(test, NOT_REACHED) for test in tests]
            return False
        query = found.query.where(self.rung.local.copy())
        self.conditions += self._evaluate(tests, asked, query)
        return all(each.holds for each in self.conditions)

    def _source_rows(self) -> int | None:
        name = self.rung.reads.get(self.rung.anchor or "")
        return self.trace.rungs[name].rows if name in self.trace.rungs else None

    def _having(self, clause: exp.Expr) -> None:
        grouped = self._grouped()
        if grouped is None:
            self._give_up("having", clause)
            return
        asked = _Asked()
        tests = [self._test("having", each, asked) for each in conjuncts(clause.this)]
        assert self.rung.local is not None
        self.conditions += self._evaluate(tests, asked, grouped.where(self.rung.local.copy()))

    def _qualify(self, clause: exp.Expr) -> None:
        asked = _Asked()
        tests = [self._test("qualify", each, asked) for each in conjuncts(clause.this)]
        self._over_all("qualify", clause, tests, asked)

    def _limit(self, clause: exp.Expr) -> None:
        order = self.select.args.get("order")
        most = clause.args.get("expression")
        plain = isinstance(most, exp.Literal) and not most.is_string
        if (
            order is None
            or not plain
            or any(self.select.args.get(name) for name in ("qualify", "distinct", "offset"))
        ):
            self._give_up("limit", clause)
            return
        assert isinstance(most, exp.Literal)
        place = exp.Window(this=exp.func("row_number"), order=self._order(order))
        asked = _Asked()
        at = asked.add(place)
        test = _Test(
            "limit", self._limit_text(), asked.add(exp.LTE(this=place.copy(), expression=most.copy()))
        )
        test.values["position in that order"] = at
        self._over_all("limit", clause, [test], asked)

    def _limit_text(self) -> str:
        order = self.select.args.get("order")
        said = [
            words(each.this, self.dialect) + (" DESC" if each.args.get("desc") else "")
            for each in (order.expressions if order else ())
        ]
        parts = [self.select.args.get(name) for name in ("limit", "offset")]
        ends = [part.sql(self.dialect, comments=False).strip() for part in parts if part is not None]
        return " ".join([f"ORDER BY {', '.join(said)}" if said else "", *ends]).strip()

    def _order(self, order: exp.Expr) -> exp.Expr:
        """Return ORDER BY over the sources: names of the select list are replaced by their expressions."""
        selected = {each.alias_or_name: each.unalias() for each in self.select.selects}

        def replaced(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Column) and not node.table and node.name in selected:
                return selected[node.name].copy()
            return node

        return order.copy().transform(replaced)

    def _over_all(self, kind: str, clause: exp.Expr, tests: list[_Test], asked: _Asked) -> None:
        """Evaluate conditions on a row's rank over all rows, then examine the person's rows."""
        query = self._grouped() if self.select.args.get("group") else self._filtered()
        if query is None or self.rung.local is None:
            self._give_up(kind, clause)
            return
        if having := self.select.args.get("having"):
            query.set("having", having.copy())
        self.conditions += self._evaluate(tests, asked, query, over=True)

    def _filtered(self) -> exp.Select:
        query = exp.Select()
        for name in ("from_", "joins", "where", "windows"):
            part = self.select.args.get(name)
            if part:
                query.set(name, [each.copy() for each in part] if isinstance(part, list) else part.copy())
        return query

    def _grouped(self) -> exp.Select | None:
        """Return the select with its groups; None if the person's rows don't form separate groups."""
        group = self.select.args.get("group")
        if group is None or self.rung.local is None:
            return None
        if any(group.args.get(name) for name in ("grouping_sets", "cube", "rollup")):
            return None
        keys = list(group.expressions)
        if group.args.get("all"):
            keys = [each.unalias() for each in self.select.selects if not each.find(exp.AggFunc, exp.Window)]
        named = {each for key in keys for each in key.find_all(exp.Column)}
        if not all(each in named for each in self.rung.local.find_all(exp.Column)):
            return None
        query = self._filtered()
        query.set("group", exp.Group(expressions=[key.copy() for key in keys]))
        return query

    def _give_up(self, kind: str, clause: exp.Expr) -> None:
        self.conditions += [Condition(kind, text, note="not analyzed") for text in self._texts(kind, clause)]

    def _label(self, value: exp.Expr) -> str:
        text = words(value, self.dialect)
        if isinstance(value, exp.Column) and len(self.rung.sources) == 1:
            return value.name
        return text

    def _side(self, name: str, value: exp.Expr) -> str:
        text = self._label(value)
        return text if len(text) <= _LONGEST else name

    def _test(self, kind: str, expression: exp.Expr, asked: _Asked) -> _Test:
        bare = expression.unnest() if isinstance(expression, exp.Paren) else expression
        text = words(bare, self.dialect)
        if isinstance(bare, exp.Or | exp.And):
            parts = [self._test(kind, each, asked) for each in bare.flatten()]
            return _Test(kind, text, operator="or" if isinstance(bare, exp.Or) else "and", parts=parts)
        values = {self._label(each): asked.add(each) for each in _columns(bare)}
        values |= {self._side(name, each): asked.add(each) for name, each in _sides(bare)}
        listed = isinstance(bare, exp.Not) and isinstance(bare.this, exp.In) and bare.this.args.get("query")
        return _Test(kind, text, asked.add(bare), values, when_null=_NULL_IN_LIST if listed else "null")

    def _evaluate(
        self, tests: list[_Test], asked: _Asked, query: exp.Select, *, over: bool = False
    ) -> list[Condition]:
        problems: dict[int, str] = {}
        try:
            rows = self._ask(asked.expressions, query, over)
        except WarehouseError:
            # One expression fails in isolation, though the engine may never evaluate it. Find out which.
            for place, expression in enumerate(asked.expressions):
                try:
                    self._ask([expression], query, over)
                except WarehouseError as error:
                    problems[place] = str(error)
            kept = [exp.null() if place in problems else each for place, each in enumerate(asked.expressions)]
            try:
                rows = self._ask(kept, query, over)
            except WarehouseError as error:
                return [_unjudged(test, f"not analyzed: {error}") for test in tests]
        if len(rows) > MOST_ROWS:
            rows = rows[:MOST_ROWS]
            self.notes.append(f"only the first {MOST_ROWS:,} rows of the person were examined")
        if not rows:
            return [_unjudged(test, NOT_REACHED) for test in tests]
        nearest = max(rows, key=lambda row: sum(_holds(test, row) is True for test in tests))
        return [_condition(test, rows, nearest, problems) for test in tests]

    def _ask(self, expressions: list[exp.Expr], query: exp.Select, over: bool) -> list[tuple[Any, ...]]:
        listed = [exp.alias_(each.copy(), f"v{place}") for place, each in enumerate(expressions)]
        asking = query.copy().select(*listed)
        if over:
            assert self.rung.local is not None
            asking = asking.select(exp.alias_(self.rung.local.copy(), "revetl_person"))
            names = [exp.column(f"v{place}") for place in range(len(listed))]
            asking = (
                exp.select(*names).from_(asking.subquery("revetl_all")).where(exp.column("revetl_person"))
            )
        return self.warehouse.rows(self.trace.ladder.asking(asking.limit(MOST_ROWS + 1)))


def _unjudged(test: _Test, note: str) -> Condition:
    parts = tuple(_unjudged(part, note) for part in test.parts)
    return Condition(test.kind, test.text, note=note, operator=test.operator, parts=parts)


def _condition(
    test: _Test, rows: list[tuple[Any, ...]], nearest: tuple[Any, ...], problems: Mapping[int, str]
) -> Condition:
    holds = _holds(test, nearest)
    note = None
    if test.place is not None and test.place in problems:
        note = f"not analyzed: {problems[test.place]}"
    elif holds is None and test.place is not None:
        seen = [nearest[place] for place in test.values.values()]
        note = "null" if None in seen else test.when_null
    return Condition(
        kind=test.kind,
        text=test.text,
        holds=holds,
        values={name: nearest[place] for name, place in test.values.items() if place not in problems},
        true_of=sum(_holds(test, row) is True for row in rows),
        rows=len(rows),
        note=note,
        operator=test.operator,
        parts=tuple(_condition(part, rows, nearest, problems) for part in test.parts),
    )


def _holds(test: _Test, row: tuple[Any, ...]) -> bool | None:
    """Evaluate with three-valued logic, like SQL."""
    if test.place is not None:
        return None if row[test.place] is None else bool(row[test.place])
    found = [_holds(part, row) for part in test.parts]
    decisive = test.operator == "or"
    if decisive in found:
        return decisive
    return None if None in found else not decisive


def _sides(test: exp.Expr) -> list[tuple[str, exp.Expr]]:
    """Return the sides of a comparison that are computed: their value says more than their columns."""
    bare = test.this if isinstance(test, exp.Not) else test
    if not isinstance(bare, _COMPARED):
        return []
    names = {"left side": "this", "right side": "expression", "from": "low", "to": "high"}
    sides = [(said, bare.args.get(name)) for said, name in names.items()]
    return [(said, side) for said, side in sides if isinstance(side, exp.Expr) and _is_made(side)]


def _is_made(side: exp.Expr) -> bool:
    """Whether a side of a comparison is worth showing besides its columns."""
    bare = side.unnest() if isinstance(side, exp.Paren) else side
    while isinstance(bare, exp.Cast | exp.Neg):
        bare = bare.this
    plain = exp.Column | exp.Literal | exp.Boolean | exp.Null
    return not isinstance(bare, plain) and not isinstance(bare, _WHOLE) and not bare.find(exp.Query)


def _columns(test: exp.Expr) -> list[exp.Expr]:
    """Return the columns a condition reads from its row, in order of appearance; for a subquery, the columns
    of the outer row."""
    inner = {each.alias_or_name for query in test.find_all(exp.Select) for each in query.find_all(exp.Table)}
    found: list[exp.Expr] = []
    for node in test.walk(prune=lambda each: isinstance(each, _WHOLE)):
        if isinstance(node, (*_WHOLE, exp.Column)) and node not in found:
            found += [node] if not tables_of(node) & inner else []
    return found


def _set_operation(trace: Trace, rung: TracedStep) -> list[Condition]:
    query = rung.query
    first, second = (trace.rungs.get(rung.reads.get(part, "")) for part in ("first", "second"))
    if isinstance(query, exp.Union) or first is None or second is None:
        return []
    kind = "except" if isinstance(query, exp.Except) else "intersect"
    text = f"not in '{second.name}'" if kind == "except" else f"in '{second.name}' too"
    condition = Condition(kind, text, values={"rows there": second.rows})
    if not first.rows:
        return [replace(condition, note=NOT_REACHED)]
    return [replace(condition, holds=None if rung.rows is None else rung.rows > 0)]
