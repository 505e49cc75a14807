"""Resolves every column of imported SQL to its table or step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, ScopeType, traverse_scope

from revetl.errors import nearest
from revetl.importers.segment_sql.documents import Index, as_read, read_of
from revetl.importers.segment_sql.names import (
    IDENTITIES,
    MOMENTS,
    context_path,
    snake_case,
)
from revetl.importers.segment_sql.refusal import SqlSource
from revetl.importers.segment_sql.relations import Catalog, Relation
from revetl.mapping.internal_columns import PERSON

DOCUMENTS = {"properties", "traits", "context"}


@dataclass
class OutputColumn:
    """An output column of a step: its new name, and its meaning: a person, moment, event or document."""

    name: str
    meaning: str | None = None


@dataclass
class QueryStep:
    """A query in the SQL: a CTE, a derived table, a branch, a subquery or the whole."""

    scope: Scope
    outputs: dict[str, OutputColumn] = field(default_factory=dict)

    @property
    def query(self) -> exp.Expr:
        return self.scope.expression


@dataclass(frozen=True)
class BoundColumn:
    """A column's source, a relation or a step under the name `alias`, and the meaning of its values."""

    of: Relation | QueryStep
    alias: str
    meaning: str | None
    can_be_missing: bool


class Columns:
    """The steps of a query, inner ones first; `bind` resolves their columns."""

    def __init__(self, source: SqlSource, catalog: Catalog, root: exp.Expr) -> None:
        self.source = source
        self.catalog = catalog
        self.steps = [QueryStep(scope) for scope in traverse_scope(root)]
        self._by_query = {id(step.query): step for step in self.steps}
        self._bound: dict[int, tuple[exp.Expr, BoundColumn]] = {}
        self._uses: dict[tuple[int, str], list[exp.Column]] = {}

    def of(self, node: exp.Expr | None) -> BoundColumn | None:
        """Return a column's binding, if it was bound."""
        return self._bound[id(node)][1] if id(node) in self._bound else None

    def step_of(self, query: exp.Expr | None) -> QueryStep | None:
        """Return the step of a query."""
        query = query.unnest() if isinstance(query, exp.Subquery) else query
        return self._by_query.get(id(query))

    def bound_as(self, column: exp.Column, bound: BoundColumn) -> exp.Column:
        """Store a column's binding."""
        self._bound[id(column)] = (column, bound)
        if isinstance(bound.of, QueryStep):
            self._uses.setdefault((id(bound.of.query), column.name), []).append(column)
        return column

    def uses(self, step: QueryStep, name: str) -> list[exp.Column]:
        """Return where an output column of a step is used."""
        return self._uses.get((id(step.query), name), [])

    def bind(self, step: QueryStep) -> None:
        """Bind the columns of a step, and convert those of Segment's tables to the package's: members of
        documents become `Read`s. Inner steps must be bound already."""
        inside: set[int] = set()
        for node in list(step.scope.walk()):
            if id(node) in inside:
                continue
            try:
                found = as_read(node)
            except Index:
                raise self.source.refused(
                    node,
                    f"{node.sql(self.source.dialect)} reads an array element, which is not supported. "
                    "Remove it.",
                ) from None
            if found is None or (isinstance(found[0], exp.Column) and isinstance(found[0].this, exp.Star)):
                continue
            inside |= {id(each) for each in node.walk()}
            made = self._written(step.scope, *found)
            if made is not node:
                node.replace(made)
            self._check_whole(made)

    def _check_whole(self, node: exp.Expr) -> None:
        """Require that only members of a document are read, or that it is passed to another step."""
        bound = self.of(node)
        parent = node.parent
        if (
            bound is None
            or bound.meaning != "document"
            or isinstance(parent, exp.Select | exp.Alias | exp.Is)
        ):
            return
        raise self.source.refused(
            node,
            f"{node.name} is used as a whole. Read the members you need, such as {node.name}.price.",
        )

    def _written(
        self, scope: Scope, column: exp.Column | exp.Dot, path: tuple[str, ...], kind: str | None
    ) -> exp.Expr:
        parts = list(_parts(column))
        alias, of, rest, can_be_missing = self._resolved(scope, column, [each.name.lower() for each in parts])
        if of is None:  # the name of a column of the same SELECT
            return column
        name = rest[0]
        after = tuple(
            str(each.meta.get("written") or each.name) for each in parts[len(parts) - len(rest) + 1 :]
        )
        path = (*after, *path)
        if isinstance(of, QueryStep):
            if name not in of.outputs:
                name, path = "context", (*context_path(name), *path)
            output = of.outputs[name]
            made = self._column(output.name, alias, parts, rest)
            self.bound_as(made, BoundColumn(of, alias, output.meaning, can_be_missing))
            return read_of(made, path, kind) if path else made
        messages = of.messages
        if messages is not None and name not in of.columns:
            if name.startswith("context_"):
                name, path = "context", (*context_path(name), *path)
            else:
                assert messages.document
                name, path = messages.document, (*self._planned(of, name), *path)
        name = of.columns.get(name, name)
        made = self._column(name, alias, parts, rest)
        self.bound_as(made, BoundColumn(of, alias, self.meaning(of, name), can_be_missing))
        if path:
            for each in path:
                if any(character in each for character in ".\"'\\{}"):
                    raise self.source.refused(
                        column, f"the name '{each}' in a document cannot be used in a path."
                    )
            of.use(name)
            return read_of(made, path, kind)
        return made

    @staticmethod
    def _column(name: str, alias: str, parts: list[exp.Identifier], rest: list[str]) -> exp.Column:
        made = exp.column(name, table=alias if len(parts) > len(rest) else None)
        made.this.meta.update(parts[0].meta)
        made.meta["was"] = rest[0]
        return made

    @staticmethod
    def meaning(of: Relation, name: str) -> str | None:
        """Return the meaning of the values of a relation's column."""
        if name == PERSON:
            return "person"
        if name in IDENTITIES and of.kind != "model":
            return "identity"
        if of.kind == "model":
            return "identity" if name in IDENTITIES or (of.identity or "")[0:1] == (name,) else None
        if name in MOMENTS or (of.kind == "profiles" and name.endswith("_at")):
            return "moment"
        if name in ("event", "event_text"):
            return name
        return "document" if name in DOCUMENTS else None

    def _planned(self, of: Relation, name: str) -> tuple[str, ...]:
        """Return the path of a property in the document, given its column in Segment's warehouses."""
        for planned in self.catalog.plan.rules() if self.catalog.plan else ():
            assert of.messages is not None
            if planned.message_type != of.messages.source or of.event not in (
                None,
                snake_case(planned.event or ""),
            ):
                continue
            for each in planned.properties:
                if snake_case(each.name) == name:
                    return (each.name,)
                for member in each.properties or ():
                    if f"{snake_case(each.name)}_{snake_case(member.name)}" == name:
                        return (each.name, member.name)
        return (name,)

    def _resolved(
        self, scope: Scope, node: exp.Expr, names: list[str]
    ) -> tuple[str, Relation | QueryStep | None, list[str], bool]:
        """Return the alias and its source, the remaining names, and whether an outer join may lack its
        row."""
        qualified = self._qualified(scope, node, names)
        if qualified is not None:
            return qualified
        here: Scope | None = scope
        while here is not None:
            sources = dict(self.sources(here))
            certain = [each for each in sources.items() if _knows(each[1], names[0])]
            if len(certain) > 1 and names[0] not in _using(here):
                raise self.source.refused(
                    node,
                    f"'{names[0]}' is ambiguous between {' and '.join(dict(certain))}. Qualify it, for "
                    f"example {certain[0][0]}.{names[0]}.",
                )
            open_ = [each for each in sources.items() if _is_open(each[1])]
            if not certain and here is scope and _is_own_name(scope, node, names[0], not open_):
                return "", None, names, False
            chosen = certain[:1] or (open_ if len(open_) == 1 else [])
            if chosen:
                alias, of = chosen[0]
                return alias, of, names, alias.lower() in _missing(here)
            if open_:
                raise self.source.refused(
                    node,
                    f"'{names[0]}' is ambiguous between {' and '.join(dict(open_))}. Qualify it, for example "
                    f"{open_[0][0]}.{names[0]}.",
                )
            here = _around(here)
        known = {name for each in dict(self.sources(scope)).values() for name in _has(each)}
        tables = " and ".join(dict(self.sources(scope))) or "no table"
        raise self.source.refused(
            node,
            f"column '{names[0]}' not found in {tables}. {_way_out(scope, self, names[0])}"
            f"{nearest(names[0], known)}",
        )

    def _qualified(
        self, scope: Scope, node: exp.Expr, names: list[str]
    ) -> tuple[str, Relation | QueryStep, list[str], bool] | None:
        """Resolve a name qualified with its table, from this query or an outer one."""
        here: Scope | None = scope
        while here is not None:
            for alias, of in self.sources(here):
                table = here.selected_sources[alias][0]
                full = [each.name.lower() for each in table.parts] if isinstance(table, exp.Table) else []
                for before in ([alias.lower()], full):
                    count = len(before)
                    if count and names[:count] == before and len(names) > count:
                        self._check(of, names[count], node)
                        return alias, of, names[count:], alias.lower() in _missing(here)
            here = _around(here)
        return None

    def _check(self, of: Relation | QueryStep, name: str, node: exp.Expr) -> None:
        if not _knows(of, name) and not _is_open(of) and name != "*":
            raise self.source.refused(
                node,
                f"column '{name}' not found in {node.sql(self.source.dialect).split('.')[0]}. "
                f"{nearest(name, _has(of))}",
            )

    def sources(self, scope: Scope) -> Iterator[tuple[str, Relation | QueryStep]]:
        """Yield a step's sources, by their names in it."""
        for alias, (_, found) in scope.selected_sources.items():
            if isinstance(found, exp.Table):
                yield alias, self.catalog.find(found)
            else:
                step = self._by_query.get(id(found.expression))
                if step is None:
                    raise self.source.refused(found.expression, "a table function cannot be translated.")
                yield alias, step


def _around(scope: Scope) -> Scope | None:
    """Return the outer query whose tables a query can reference."""
    is_inner = scope.scope_type in (ScopeType.SUBQUERY, ScopeType.SET_OPERATION)
    return scope.parent if is_inner else None


def _parts(column: exp.Column | exp.Dot) -> Iterator[exp.Identifier]:
    if isinstance(column, exp.Dot):
        yield from _parts(column.this)
        assert isinstance(column.expression, exp.Identifier)
        yield column.expression
    else:
        yield from (each for each in column.parts if isinstance(each, exp.Identifier))


def _has(of: Relation | QueryStep) -> set[str]:
    """Return the known columns of a source."""
    if isinstance(of, QueryStep):
        return set(of.outputs)
    if of.kind == "model":
        return {*of.columns, *IDENTITIES} if not of.columns else set(of.columns)
    return set(of.columns)


def _knows(of: Relation | QueryStep, name: str) -> bool:
    """Whether a source has a column: context columns of Segment's warehouses are in the document."""
    if name in _has(of):
        return True
    is_message = isinstance(of, Relation) and of.messages is not None
    has_context = (
        isinstance(of, QueryStep) and "context" in of.outputs and of.outputs["context"].meaning == "document"
    )
    return name.startswith("context_") and (is_message or has_context)


def _is_open(of: Relation | QueryStep) -> bool:
    """Whether a source may have unknown columns."""
    if isinstance(of, QueryStep):
        return False
    return of.kind == "model" or (of.messages is not None and of.messages.is_flat)


def _missing(scope: Scope) -> set[str]:
    """Return the names of sources whose row an outer join may lack."""
    joins = scope.expression.args.get("joins") or []
    found: set[str] = set()
    before = {
        each.alias_or_name.lower()
        for each in [(scope.expression.args.get("from_") or exp.From()).this]
        if each is not None
    }
    for join in joins:
        name = join.this.alias_or_name.lower()
        if join.side in ("LEFT", "FULL"):
            found.add(name)
        if join.side in ("RIGHT", "FULL"):
            found |= before
        before.add(name)
    return found


def _using(scope: Scope) -> set[str]:
    joins = scope.expression.args.get("joins") or []
    return {each.name.lower() for join in joins for each in join.args.get("using") or []}


def _is_own_name(scope: Scope, node: exp.Expr, name: str, is_closed: bool) -> bool:
    """Whether a name is an alias of the SELECT itself instead of a column."""
    query = scope.expression
    if not isinstance(query, exp.Select):
        return isinstance(query, exp.Query) and name in [each.lower() for each in query.named_selects]
    named = next((each for each in query.expressions if each.alias.lower() == name), None)
    within: exp.Expr = node
    while within.parent is not None and within.parent is not query:
        if isinstance(within, exp.AggFunc) and not is_closed:
            return False
        within = within.parent
    if named is None or within.arg_key in ("from_", "joins"):
        return False
    if is_closed or within.arg_key in ("having", "order", "qualify"):
        return True
    return within.arg_key == "group" and name not in [
        each.name.lower() for each in named.find_all(exp.Column)
    ]


def _way_out(scope: Scope, columns: Columns, name: str) -> str:
    for _, of in columns.sources(scope):
        if isinstance(of, Relation) and of.name == "tracks":
            return f"Write properties.{name} for a property of the events. "
        if isinstance(of, Relation) and of.kind == "profiles":
            return "A trait has a column if the variable profile_traits lists it. "
    return ""
