"""Infers the kind of an expression's values: number, text, timestamp, boolean."""

from __future__ import annotations

from sqlglot import exp

from revetl.importers.segment_sql.columns import Columns, QueryStep
from revetl.importers.segment_sql.documents import MemberRead
from revetl.importers.segment_sql.names import snake_case
from revetl.importers.segment_sql.relations import Relation

NUMBERS = {"number", "integer"}
NOW = (
    exp.CurrentTimestamp,
    exp.CurrentDatetime,
    exp.Localtimestamp,
    exp.CurrentTimestampLTZ,
    exp.UtcTimestamp,
    exp.UtcDate,
)
NOW_NAMES = {"now", "getdate", "getutcdate", "sysdate", "sysdatetime", "sysutcdatetime", "today", "unix_date"}
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod)
_OF_NUMBERS = (exp.Sum, exp.Avg, exp.Median, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance)
_NUMERIC = (*_OF_NUMBERS, exp.Count, exp.Round, exp.Abs, exp.Ceil, exp.Floor, exp.Length, exp.Extract)
_SAME = (
    exp.Paren,
    exp.Neg,
    exp.Max,
    exp.Min,
    exp.AnyValue,
    exp.Coalesce,
    exp.Nullif,
    exp.If,
    exp.Case,
    exp.First,
)
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
TEMPORAL = ("timestamp", "timestamptz", "timestampltz", "timestampntz", "datetime", "datetime2", "date")


def is_now(node: exp.Expr) -> bool:
    """Whether an expression is the current time or date."""
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in NOW_NAMES and not node.expressions
    return isinstance(node, (*NOW, exp.CurrentDate))


def is_temporal(to: exp.DataType) -> bool:
    """Whether a type is a date or timestamp type."""
    return to.is_type(*exp.DataType.TEMPORAL_TYPES) and not to.is_type("time", "timetz")


class Values:
    """The kinds of values, as far as the SQL and the tracking plan determine them."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._told: dict[int, tuple[exp.Expr, str]] = {}

    def tell(self, node: exp.Expr, kind: str) -> exp.Expr:
        """Store the kind of an expression."""
        self._told[id(node)] = (node, kind)
        return node

    def kind(self, node: exp.Expr | None) -> str | None:
        """Return the kind of an expression by itself."""
        if node is None:
            return None
        if id(node) in self._told:
            return self._told[id(node)][1]
        if isinstance(node, exp.Literal):
            return "text" if node.is_string else "number"
        if isinstance(node, exp.Boolean):
            return "boolean"
        if is_now(node):
            return "today" if isinstance(node, exp.CurrentDate) else "moment"
        if isinstance(node, exp.Interval):
            return "span"
        if isinstance(node, exp.Cast):
            return self._of_cast(node)
        if isinstance(node, MemberRead):
            return node.text("to") or self.planned(node)
        if isinstance(node, exp.Column):
            bound = self._columns.of(node)
            if bound is not None and bound.meaning in ("moment", "number"):
                return bound.meaning
            return None
        if isinstance(node, _ARITHMETIC):
            kinds = {self.kind(node.this), self.kind(node.expression)}
            return next((kind for kind in ("moment", "today", "date") if kind in kinds), "number")
        if isinstance(node, _NUMERIC):
            return "number"
        if isinstance(node, _SAME):
            inner = node.args.get("true") or node.this
            if isinstance(node, exp.Case):
                inner = node.args["ifs"][0].args["true"]
            return self.kind(inner)
        if isinstance(node, exp.Predicate | exp.Connector | exp.Not):
            return "boolean"
        return None

    @staticmethod
    def _of_cast(node: exp.Cast) -> str | None:
        if node.to.is_type(*exp.DataType.NUMERIC_TYPES):
            return "number"
        if is_temporal(node.to):
            return "date" if node.to.is_type("date") else "moment"
        if node.to.is_type("boolean"):
            return "boolean"
        return "text" if node.to.is_type(*exp.DataType.TEXT_TYPES) else None

    def wanted(self, node: exp.Expr, depth: int = 0) -> str | None:
        """Return the kind that an expression's context requires: what it is compared or calculated with."""
        parent = node.parent
        if parent is None or depth > 40:
            return None
        if isinstance(parent, _COMPARED):
            return self.kind(parent.expression if parent.this is node else parent.this)
        if isinstance(parent, exp.Between):
            others = [parent.args[key] for key in ("this", "low", "high") if parent.args[key] is not node]
            return next(filter(None, map(self.kind, others)), None)
        if isinstance(parent, exp.In):
            return self.kind(parent.expressions[0]) if parent.expressions else None
        if isinstance(parent, _ARITHMETIC):
            other = self.kind(parent.expression if parent.this is node else parent.this)
            return "moment" if other in ("span", "moment", "today", "date") else "number"
        if isinstance(parent, (*_OF_NUMBERS, exp.Round, exp.Abs, exp.Ceil, exp.Floor)):
            return "number"
        if isinstance(parent, exp.If) and isinstance(parent.parent, exp.Case):
            return "boolean" if node.arg_key == "this" else self.wanted(parent.parent, depth + 1)
        if isinstance(parent, exp.If) and node.arg_key == "this":
            return "boolean"
        if isinstance(parent, exp.Case) and node.arg_key == "this":
            return self.kind(parent.args["ifs"][0].this)
        if isinstance(parent, exp.Where | exp.Having | exp.And | exp.Or | exp.Not | exp.Qualify):
            return "boolean"
        if isinstance(parent, exp.Is):
            return self.kind(parent.expression)
        if isinstance(parent, (*_SAME, exp.Distinct, exp.Window, exp.Filter)):
            return self.wanted(parent, depth + 1)
        projection = node if isinstance(parent, exp.Select) else parent
        if isinstance(projection.parent, exp.Select) and projection.arg_key == "expressions":
            return self._wanted_of_output(projection, depth)
        return None

    def _wanted_of_output(self, projection: exp.Expr, depth: int) -> str | None:
        """Return the kind required by the steps that use a step's column."""
        found = {self.wanted(use, depth + 1) for use in self.uses(projection)} - {None}
        return found.pop() if len(found) == 1 else None

    def uses(self, projection: exp.Expr) -> list[exp.Column]:
        """Return where the column of a projection is used."""
        query = projection.parent
        assert isinstance(query, exp.Select)
        place = query.expressions.index(projection)
        top: exp.Expr = query
        while isinstance(top.parent, exp.SetOperation) or (
            isinstance(top.parent, exp.Subquery) and isinstance(top.parent.parent, exp.SetOperation)
        ):
            top = top.parent
        step = self._columns.step_of(top)
        outputs = [] if step is None else list({id(each): each for each in step.outputs.values()}.values())
        return self._columns.uses(step, outputs[place].name) if step and place < len(outputs) else []

    def planned(self, read: MemberRead) -> str | None:
        """Return the tracking plan's kind of a member of a document, for the events in the SELECT."""
        column = read.this
        bound = self._columns.of(column) if isinstance(column, exp.Column) else None
        plan = self._columns.catalog.plan
        if bound is None or plan is None or not isinstance(bound.of, Relation) or bound.of.messages is None:
            return None
        if column.name != bound.of.messages.document:
            return None
        events = self._events(read, bound.of)
        found = set()
        for rules in plan.rules():
            of_type = rules.message_type == bound.of.messages.source
            if not of_type or (rules.event is not None and snake_case(rules.event) not in events):
                continue
            properties = rules.properties
            for name in read.path:
                planned = next((each for each in properties if each.name == name), None)
                if planned is None:
                    break
                properties = planned.properties or ()
            else:
                if planned is not None:
                    types = set(planned.type) - {"null"}
                    is_number = types and types <= NUMBERS
                    is_text = types == {"string"}
                    found.add("number" if is_number else "text" if is_text else "any")
        kind = found.pop() if len(found) == 1 else None
        return None if kind == "any" else kind

    def _events(self, read: MemberRead, relation: Relation) -> set[str]:
        """Return the events that a SELECT filters by, in snake_case."""
        if relation.event is not None:
            return {relation.event}
        select = read.find_ancestor(exp.Select)
        found: set[str] = set()
        for clause in (select.args.get("where"), *(select.args.get("joins") or [])) if select else ():
            for test in clause.find_all(exp.EQ, exp.In) if clause is not None else ():
                if isinstance(test.parent, exp.Not):
                    continue
                sides = [test.this, *([test.expression] if isinstance(test, exp.EQ) else test.expressions)]
                if any(is_event(self._columns, side) for side in sides):
                    found |= {snake_case(side.name) for side in sides if isinstance(side, exp.Literal)}
        return found


def is_event(columns: Columns, node: exp.Expr) -> bool:
    """Whether an expression is the name of an event."""
    bound = columns.of(node)
    return bound is not None and bound.meaning in ("event", "event_text")


def literals_of(values: Values, node: exp.Expr) -> list[exp.Literal]:
    """Return the texts that an expression, or a step's column derived from it, is compared with."""
    parent = node.parent
    if isinstance(parent, exp.Paren | exp.Lower | exp.Upper | exp.Trim | exp.Cast):
        return literals_of(values, parent)
    found: list[exp.Expr] = []
    if isinstance(parent, exp.Binary | exp.Like | exp.ILike):
        found = [parent.expression if parent.this is node else parent.this]
    elif isinstance(parent, exp.In):
        found = parent.expressions
    elif isinstance(parent, exp.Case):
        found = [each.this for each in parent.args["ifs"]]
    elif parent is not None:
        projection = node if isinstance(parent, exp.Select) else parent
        if isinstance(projection.parent, exp.Select) and projection.arg_key == "expressions":
            return [each for use in values.uses(projection) for each in literals_of(values, use)]
    texts = [each.unnest() for each in found]
    return [each for each in texts if isinstance(each, exp.Literal) and each.is_string]


__all__ = ["QueryStep", "Values", "is_event", "is_now", "literals_of"]
