"""Whether a person is in an audience, and which condition of which step decides it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from revetl.inspect.explain.answer import (
    Condition,
    Membership,
    Person,
    TraceStep,
)
from revetl.inspect.explain.conditions import judge
from revetl.inspect.explain.person import among
from revetl.inspect.explain.source import NotAnalysed, compiled_sql, take_apart
from revetl.inspect.explain.trace import Trace, TracedStep
from revetl.observability.text import counted
from revetl.project.workspace import AudienceModel, Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement

_LONGEST = 80


def explain_membership(
    workspace: Workspace, audience: AudienceModel, person: Person, warehouse: Warehouse
) -> Membership:
    """Explain the membership of a person, step by step. Parts that can't be analyzed are listed in its
    notes."""
    member = is_member(audience, person, warehouse)
    try:
        sql, notes = compiled_sql(workspace, audience)
        ladder = take_apart(sql, warehouse)
    except NotAnalysed as error:
        return Membership(member, None, (), (), (f"Not analyzed: {error}",))
    trace = Trace(ladder, audience.key, person)
    trace.count(warehouse)
    return _Explained(trace, warehouse).membership(member, audience, notes)


def is_member(audience: AudienceModel, person: Person, warehouse: Warehouse) -> bool:
    """Whether the audience as built contains the person."""
    if not person.keys:
        return False
    query = statement(
        "select count(*) from :model as a where :mine",
        model=audience.relation,
        mine=among(column(audience.key, of="a"), person.keys),
    )
    return bool(warehouse.rows(query)[0][0])


class _Explained:
    """A trace with its conditions evaluated."""

    def __init__(self, trace: Trace, warehouse: Warehouse) -> None:
        self.trace = trace
        self.judged = {
            name: judge(trace, rung, warehouse)
            for name, rung in trace.rungs.items()
            if rung.query is not None
        }

    def membership(self, member: bool, audience: AudienceModel, notes: tuple[str, ...]) -> Membership:
        """Return the trace as a result. `member`: whether the audience as built contains the person."""
        root = self.trace.root
        by_query = None if root.rows is None else root.rows > 0
        found = list(notes)
        if not self.trace.person.keys:
            by_query = False
            found.append(f"The person has no {audience.key}, the key of {audience.name}.")
        elif root.handle is None:
            found.append(
                f"The final select has no column that identifies the person (its key is {audience.key})."
            )
        if by_query is not None and by_query != member:
            now, then = (
                ("now includes the person", "does not contain them")
                if by_query
                else ("now excludes the person", "contains them")
            )
            found.append(
                f"{audience.name} as built {then}, but its SQL {now}: the tables it reads have "
                f"changed since. Run `dbt build --select {audience.name}`."
            )
        reasons = tuple(dict.fromkeys(self._reasons(root))) if by_query is False else ()
        return Membership(member, by_query, reasons, tuple(self._steps()), tuple(found))

    def _steps(self) -> Iterator[TraceStep]:
        for rung in self.trace.rungs.values():
            if self._is_passed_over(rung):
                continue
            conditions, notes = self.judged.get(rung.name, ([], []))
            if rung.problem is not None:
                notes = [*notes, f"not analyzed: {rung.problem}"]
            elif rung.handle is None:
                notes = [*notes, "not analyzed: it has no column that identifies the person"]
            reads = dict.fromkeys(self._title(self.trace.rungs[name]) for name in rung.reads.values())
            yield TraceStep(
                name=self._title(rung),
                rows=rung.rows,
                reads=tuple(reads),
                conditions=tuple(conditions),
                notes=tuple(notes),
                is_table=rung.query is None,
            )

    def _is_passed_over(self, rung: TracedStep) -> bool:
        """Whether to skip a rung: a plain select of another step or table adds nothing to it, and a table is
        shown as the CTE that imports it."""
        if rung is self.trace.root:
            return self._is_import(rung) and len(self.trace.rungs) > 1
        if rung.query is None:
            return any(
                rung.name in each.reads.values() and self._is_import(each) and each is not self.trace.root
                for each in self.trace.rungs.values()
            )
        return False

    def _is_import(self, rung: TracedStep) -> bool:
        query = rung.query
        parts = ("where", "group", "having", "qualify", "limit", "distinct", "joins", "offset")
        return (
            isinstance(query, exp.Select)
            and len(rung.sources) == 1
            and not any(query.args.get(p) for p in parts)
        )

    def _title(self, rung: TracedStep) -> str:
        relation = self.trace.ladder.tables.get(rung.name)
        return relation.name if relation is not None else rung.name

    def _reasons(self, rung: TracedStep) -> Iterator[str]:
        """Yield what excludes the person from a rung, down to the cause."""
        if rung.rows:
            return
        title = self._title(rung)
        if rung.query is None:
            if rung.rows == 0:
                yield f"{title} has no row of the person"
            return
        if isinstance(rung.query, exp.SetOperation):
            yield from self._of_parts(rung)
            return
        anchor = self.trace.rungs.get(rung.reads.get(rung.anchor or "", ""))
        if anchor is not None and anchor.rows == 0:
            yield from self._reasons(anchor)
            return
        conditions, _ = self.judged[rung.name]
        failed = [each for each in conditions if each.note != "not reached" and each.holds is not True]
        decisive = [each for each in failed if not (each.note or "").startswith("not analyzed")]
        if any(each.text.startswith("join ") for each in decisive):
            # Conditions on columns of an unmatched join are null only because of the join.
            decisive = [each for each in decisive if each.holds is False]
        for each in decisive:
            yield f"{title}: {sentence(each)}"
            if each.kind == "join":
                yield from self._of_joined(rung, each)
        if not decisive:
            yield f"{title}: the person is lost in a part that was not analyzed"

    def _of_joined(self, rung: TracedStep, condition: Condition) -> Iterator[str]:
        for source in rung.sources:
            child = self.trace.rungs.get(rung.reads.get(source.alias, ""))
            named = condition.text.removeprefix("join ").partition(" on ")[0]
            if child is not None and child.rows == 0 and named == self._title(child):
                yield from self._reasons(child)

    def _of_parts(self, rung: TracedStep) -> Iterator[str]:
        first, second = (self.trace.rungs.get(rung.reads.get(part, "")) for part in ("first", "second"))
        if isinstance(rung.query, exp.Except) and first is not None and first.rows:
            if second is not None and second.rows:
                taken_out = f"'{second.name}', which is subtracted ({counted(second.rows, 'row')})"
                yield f"{rung.name}: the person is in {taken_out}"
            return
        for part in (first, second):
            if part is not None and not (part is second and isinstance(rung.query, exp.Except)):
                yield from self._reasons(part)


def sentence(condition: Condition) -> str:
    """Format a condition with its truth value and the values it read, on one line."""
    if condition.operator is not None:
        few = "none" if condition.operator == "or" else "not every one"
        return f"{few} of these is true: {condition.text}"
    if condition.text.startswith("join ") and condition.holds is False:
        return f"{condition.text} finds nothing" + _values(condition)
    note = condition.note or "null"
    if note.startswith("not "):
        return f"{condition.text}: {note}"
    null = "null" if note == "null" else f"null: {note}"
    word = {True: "true", False: "false", None: null}[condition.holds]
    return f"{condition.text} is {word}" + _values(condition)


def _values(condition: Condition) -> str:
    values = ", ".join(f"{name} = {shown(value)}" for name, value in condition.values.items())
    return f" ({values})" if values else ""


def shown(value: object) -> str:
    """Format a value for display."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
