"""Converts message ids to people: set operations, joins and groups use the canonical id."""

from __future__ import annotations

from sqlglot import exp

from revetl.importers.segment_sql.columns import (
    BoundColumn,
    Columns,
    OutputColumn,
    QueryStep,
)
from revetl.importers.segment_sql.names import IDENTITIES
from revetl.importers.segment_sql.relations import Relation
from revetl.mapping.internal_columns import PERSON

_COMPARED = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
# Functions that return one of their arguments.
_PASSING = (exp.Max, exp.Min, exp.AnyValue, exp.First, exp.Last, exp.Coalesce, exp.Case, exp.If)


def resolve_people(columns: Columns, step: QueryStep) -> None:
    """Convert the ids of a step to people wherever people are meant, and set the step's outputs."""
    query = step.query
    if isinstance(query, exp.SetOperation):
        _outputs_of_branches(columns, step)
        return
    _other_names(columns, step)
    _fold(columns, step)
    for node in list(step.scope.find_all(exp.Column)):
        bound = columns.of(node)
        if bound is None or isinstance(node.this, exp.Star):
            continue
        if bound.meaning in ("identity", "person"):
            _decide(columns, node, bound)
        elif isinstance(bound.of, Relation) and bound.meaning not in ("event", "event_text"):
            bound.of.use(node.name)
    for join in query.args.get("joins") or []:
        _using(columns, step, join)
    _group_once(query)
    _outputs(columns, step)


def _decide(columns: Columns, node: exp.Column, bound: BoundColumn) -> None:
    is_person = _means_person(columns, node, bound)
    if is_person:
        _check_in(columns, node)
    if isinstance(bound.of, Relation):
        relation = bound.of
        if not is_person:
            relation.use(node.name)
            return
        if relation.kind == "model" and node.name != PERSON:
            _identify(columns, relation, node)
        relation.use(PERSON)
        _strip_casts(node)
        node.set("this", exp.to_identifier(PERSON))
        columns.bound_as(node, BoundColumn(relation, bound.alias, "person", bound.can_be_missing))
    elif not is_person:
        raise columns.source.refused(
            node,
            f"'{node.meta.get('was', node.name)}' is a person here, but it is compared with a value. "
            "Compare it in the SELECT that reads the messages.",
        )


def _check_in(columns: Columns, node: exp.Column) -> None:
    within = node.parent
    while within is not None and (isinstance(within, exp.Paren) or _is_text_cast(within)):
        within = within.parent
    query = within.args.get("query") if isinstance(within, exp.In) else None
    if query is not None and not query.find(exp.Tuple) and not is_person(columns, query):
        raise columns.source.refused(
            query,
            f"'{node.meta.get('was', node.name)}' is compared with the result of this SELECT, which is not a "
            "message's or person's id. Select user_id or anonymous_id there.",
        )


def _identify(columns: Columns, relation: Relation, node: exp.Column, kind: str | None = None) -> None:
    """Match the rows of a model with people by a column."""
    named = (node.name, kind or (node.name if node.name in IDENTITIES else "user_id"))
    if relation.identity not in (None, named):
        assert relation.identity is not None
        raise columns.source.refused(
            node,
            f"the rows of {relation.name} are matched with people by both {relation.identity[0]} and "
            f"{node.name}. Use one of them.",
        )
    if PERSON not in relation.columns:
        relation.identity = named
        relation.use(node.name)


def _means_person(columns: Columns, node: exp.Column, bound: BoundColumn) -> bool:
    """Whether an id stands for a person instead of a message's own id."""
    inner: exp.Expr = node
    parent = inner.parent
    while parent is not None and (_is_text_cast(parent) or isinstance(parent, exp.Paren | exp.Coalesce)):
        if isinstance(parent, exp.Coalesce) and not is_person(columns, parent):
            return False
        inner, parent = parent, parent.parent
    if isinstance(parent, _COMPARED):
        other = parent.expression if parent.this is inner else parent.this
        return is_person(columns, other.unnest())
    if isinstance(parent, exp.Is):
        negated = isinstance(parent.parent, exp.Not)
        return negated or bound.can_be_missing or bound.meaning == "person"
    if isinstance(parent, exp.In):
        return inner is not parent.this or not parent.expressions
    # Functions and comparisons of an id concern its text.
    return not isinstance(parent, exp.Func | exp.Predicate | exp.Concat | exp.DPipe) or isinstance(
        parent, (exp.Count, exp.Distinct, exp.AggFunc, *_PASSING)
    )


def is_person(columns: Columns, node: exp.Expr) -> bool:
    """Whether the value of an expression is, or can be treated as, a person."""
    if isinstance(node, exp.Column):
        bound = columns.of(node)
        return bound is not None and bound.meaning in ("identity", "person")
    if isinstance(node, exp.Paren | exp.Alias | exp.Any) or _is_text_cast(node):
        return is_person(columns, node.this)
    if isinstance(node, exp.Coalesce):
        return all(is_person(columns, each) for each in (node.this, *node.expressions))
    if isinstance(node, exp.Case):
        results = [each.args["true"] for each in node.args["ifs"]]
        results += [node.args["default"]] if node.args.get("default") else []
        return all(isinstance(each, exp.Null) or is_person(columns, each) for each in results) and any(
            is_person(columns, each) for each in results
        )
    if isinstance(node, exp.If):
        results = [each for each in (node.args.get("true"), node.args.get("false")) if each is not None]
        return all(is_person(columns, each) for each in results)
    if isinstance(node, exp.Max | exp.Min | exp.AnyValue | exp.First | exp.Last):
        return is_person(columns, node.this)
    if isinstance(node, exp.Subquery | exp.Select | exp.SetOperation):
        step = columns.step_of(node)
        return step is not None and any(output.meaning == "person" for output in step.outputs.values())
    return False


def _is_text_cast(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Cast) and node.to.is_type(*exp.DataType.TEXT_TYPES)


def _strip_casts(node: exp.Column) -> None:
    while _is_text_cast(node.parent):
        assert node.parent is not None
        node.parent.replace(node)


def _fold(columns: Columns, step: QueryStep) -> None:
    """Replace COALESCE of a message's ids by its person."""
    for node in list(step.scope.find_all(exp.Coalesce)):
        arguments = [each.unnest() for each in (node.this, *node.expressions)]
        bounds = [columns.of(each) for each in arguments]
        if not all(bound and bound.meaning in ("identity", "person") for bound in bounds):
            continue
        if len({bound.alias for bound in bounds if bound}) == 1:
            first = arguments[0]
            bound = bounds[0]
            assert isinstance(first, exp.Column) and bound is not None
            probe = node.parent
            node.replace(first)
            if probe is not None and not _means_person(columns, first, bound):
                first.replace(node)
                node.set("this", first)


def _other_names(columns: Columns, step: QueryStep) -> None:
    """Treat columns of the project's models that are compared with ids, or named like one, as ids."""
    for node in list(step.scope.find_all(exp.EQ)):
        for one, other in ((node.this, node.expression), (node.expression, node.this)):
            one, other = one.unnest(), other.unnest()
            bound = columns.of(one)
            to = columns.of(other)
            if bound and to and _is_plain(bound) and to.meaning in ("identity", "person"):
                kind = other.name if other.name in IDENTITIES else "user_id"
                _name(columns, one, bound, kind)
    query = step.query
    if not isinstance(query, exp.Select):
        return
    inside = query.parent.parent if isinstance(query.parent, exp.Subquery) else query.parent
    for projection in query.expressions:
        node = projection.unalias()
        bound = columns.of(node)
        if bound is None or not _is_plain(bound):
            continue
        if projection.alias.lower() in IDENTITIES:
            _name(columns, node, bound, projection.alias.lower())
        elif isinstance(inside, exp.In) and isinstance(inside.this, exp.Column | exp.Paren):
            asked = inside.this.unnest()
            if asked.name.lower() in (*IDENTITIES, PERSON):
                _name(columns, node, bound, asked.name.lower())


def _is_plain(bound: BoundColumn) -> bool:
    return bound.meaning is None and isinstance(bound.of, Relation) and bound.of.kind == "model"


def _name(columns: Columns, node: exp.Column, bound: BoundColumn, kind: str) -> None:
    assert isinstance(bound.of, Relation)
    _identify(columns, bound.of, node, kind if kind in IDENTITIES else "user_id")
    columns.bound_as(node, BoundColumn(bound.of, bound.alias, "identity", bound.can_be_missing))


def _using(columns: Columns, step: QueryStep, join: exp.Join) -> None:
    """Convert JOIN … USING (user_id) to a join of people."""
    named = join.args.get("using") or []
    for place, each in enumerate(named):
        name = each.name.lower()
        news = set()
        for alias, of in columns.sources(step.scope):
            if isinstance(of, QueryStep):
                if name in of.outputs:
                    output = of.outputs[name]
                    news.add(output.name if output.meaning == "person" else name)
            elif name in IDENTITIES or (name == "id" and of.kind == "profiles"):
                if of.kind == "model":
                    _identify(columns, of, exp.column(name, table=alias))
                news.add(of.use(PERSON))
            else:
                news.add(of.use(of.columns.get(name, name)))
        if len(news) > 1:
            raise columns.source.refused(
                join, f"USING ({name}) joins a person with something else. Use ON instead."
            )
        named[place] = exp.to_identifier(news.pop())
    join.set("using", named or None)


def _group_once(query: exp.Expr) -> None:
    """Remove duplicate groups: both ids of a message become the same person."""
    group = query.args.get("group")
    if group is not None:
        seen: dict[str, exp.Expr] = {}
        for each in group.expressions:
            seen.setdefault(each.sql(), each)
        group.set("expressions", list(seen.values()))


def _outputs(columns: Columns, step: QueryStep) -> None:
    query = step.query
    if not isinstance(query, exp.Select):
        raise columns.source.refused(query, f"{type(query).__name__.upper()} cannot be translated.")
    made: list[exp.Expr] = []
    for projection in query.expressions:
        if projection.is_star:
            made += _star(columns, step, projection)
            continue
        node = projection.unalias()
        bound = columns.of(node)
        meaning = "person" if is_person(columns, node) else bound.meaning if bound else _moment(columns, node)
        name = projection.output_name.lower() or f"column {len(made) + 1}"
        was = str(node.meta.get("was") or name)
        if not isinstance(projection, exp.Alias) and (
            name in step.outputs or (meaning != "person" and was != name)
        ):
            projection, name = exp.alias_(projection, was), was
        output = OutputColumn(name, meaning)
        step.outputs[name] = output
        if not isinstance(projection, exp.Alias):
            step.outputs.setdefault(was, output)
        made.append(projection)
    query.set("expressions", made)
    if names := _given_names(query):
        step.outputs = {
            name: OutputColumn(name, output.meaning)
            for name, output in zip(names, once(step.outputs), strict=False)
        }


def _moment(columns: Columns, node: exp.Expr) -> str | None:
    """Return `moment` for the minimum or maximum of timestamps."""
    if isinstance(node, exp.Max | exp.Min | exp.AnyValue | exp.First | exp.Last | exp.Coalesce | exp.Paren):
        return _moment(columns, node.this)
    bound = columns.of(node)
    return "moment" if bound is not None and bound.meaning == "moment" else None


def once(outputs: dict[str, OutputColumn]) -> list[OutputColumn]:
    """Return the columns of a step in order, without duplicates: a column may have two names."""
    return list({id(each): each for each in outputs.values()}.values())


def _given_names(query: exp.Expr) -> list[str]:
    """Return the column names that a CTE or derived table declares."""
    parent = query.parent
    alias = parent.args.get("alias") if isinstance(parent, exp.CTE | exp.Subquery) else None
    return [each.name.lower() for each in alias.columns] if isinstance(alias, exp.TableAlias) else []


def _star(columns: Columns, step: QueryStep, projection: exp.Expr) -> list[exp.Expr]:
    star = projection.this if isinstance(projection, exp.Column) else projection
    if any(star.args.get(key) for key in ("except_", "replace", "rename", "except")):
        raise columns.source.refused(projection, "SELECT * with EXCEPT or REPLACE: list the columns.")
    of_alias = projection.table.lower() if isinstance(projection, exp.Column) else ""
    if isinstance(step.query.parent, exp.Exists):
        return [exp.Literal.number(1)]
    made: list[exp.Expr] = []
    for alias, of in columns.sources(step.scope):
        if of_alias not in ("", alias.lower()):
            continue
        if isinstance(of, Relation):
            if of.kind == "model":
                raise columns.source.refused(projection, f"SELECT * of {of.name}: list the columns.")
            person = OutputColumn(PERSON, "person")
            given = {PERSON: person, **dict.fromkeys(IDENTITIES, person)}
            given |= {
                of.use(name): OutputColumn(name, columns.meaning(of, name))
                for name in of.columns.values()
                if name not in given
            }
            of.use(PERSON)
        else:
            given = of.outputs
        for name, output in given.items():
            step.outputs.setdefault(name, output)
        for output in once(given):
            bound = BoundColumn(of, alias, output.meaning, False)
            made.append(columns.bound_as(exp.column(output.name, table=alias), bound))
    return made


def _outputs_of_branches(columns: Columns, step: QueryStep) -> None:
    query = step.query
    assert isinstance(query, exp.SetOperation)
    branches = [columns.step_of(branch) for branch in (query.left, query.right)]
    left, right = branches
    if left is None or right is None:
        return
    step.outputs = dict(left.outputs)
    lefts, rights = once(left.outputs), once(right.outputs)
    for one, other in zip(lefts, rights, strict=False):
        if (one.meaning == "person") != (other.meaning == "person"):
            raise columns.source.refused(
                query.right if one.meaning == "person" else query.left,
                "one side of the set operation has a person where the other has something else.",
            )
    names = _given_names(query)
    if names:
        step.outputs = {
            name: OutputColumn(name, each.meaning) for name, each in zip(names, lefts, strict=False)
        }
    for node in list(step.scope.find_all(exp.Column)):
        if node.name.lower() in step.outputs:
            node.set("this", exp.to_identifier(step.outputs[node.name.lower()].name))
