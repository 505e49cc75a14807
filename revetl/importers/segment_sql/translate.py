"""Translates SQL written for Segment audiences to a model of the project."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, UnsupportedError

from revetl.errors import UsageError, nearest
from revetl.importers.segment_sql.columns import Columns
from revetl.importers.segment_sql.differences import check_meanings, is_alike
from revetl.importers.segment_sql.emit import Cte, CteLadder, of_relation
from revetl.importers.segment_sql.expressions import write_expressions
from revetl.importers.segment_sql.identity_rewrite import once, resolve_people
from revetl.importers.segment_sql.jinja import Jinja
from revetl.importers.segment_sql.refusal import SqlSource
from revetl.importers.segment_sql.relations import Catalog
from revetl.mapping.internal_columns import PERSON
from revetl.project.workspace import Workspace

DIALECTS = {
    "duckdb": "duckdb",
    "postgres": "postgres",
    "snowflake": "snowflake",
    "bigquery": "bigquery",
    "redshift": "redshift",
    "databricks": "databricks",
    "spark": "spark",
    "fabric": "fabric",
    "synapse": "fabric",
}
"""sqlglot's dialect by dbt adapter type."""
_REFUSED: dict[type[exp.Expr], str] = {
    exp.Lateral: "LATERAL",
    exp.Unnest: "UNNEST",
    exp.Explode: "EXPLODE",
    exp.Pivot: "PIVOT",
    exp.MatchRecognize: "MATCH_RECOGNIZE",
    exp.TableSample: "a sample of a table",
    exp.Values: "VALUES as a table",
    exp.Placeholder: "a parameter",
    exp.Parameter: "a parameter",
    exp.SessionParameter: "a parameter",
    exp.Into: "SELECT INTO",
    exp.Lock: "FOR UPDATE",
    exp.Rand: "a random number",
    exp.Connect: "CONNECT BY",
}


def translate(
    workspace: Workspace, text: str, source: SqlSource, key: str
) -> tuple[CteLadder, Jinja, Catalog]:
    """Translate a query to a model. Raises UsageError with the line of anything untranslatable."""
    root = _parsed(text, source)
    _check(root, source)
    dialect = DIALECTS.get(workspace.target.type, workspace.target.type)
    check_meanings(root, source, dialect)
    catalog, jinja = Catalog(workspace, source), Jinja(dialect)
    columns = Columns(source, catalog, root)
    for step in columns.steps:
        columns.bind(step)
        resolve_people(columns, step)
    ladder = _ladder(root, columns, catalog, key)
    write_expressions(root, columns, jinja)
    _without_own_names(root, columns, dialect)
    _check_functions(root, source, dialect)
    _name_relations(columns, ladder, jinja)
    try:
        ladder.fill(catalog, jinja, root)
    except UnsupportedError as error:
        raise source.refused(root, f"not supported in {dialect}: {str(error).splitlines()[0]}.") from None
    return ladder, jinja, catalog


def check_dialect(name: str) -> None:
    """Raises UsageError for a dialect that sqlglot doesn't know."""
    from sqlglot.dialects.dialect import Dialects

    known = [each.value for each in Dialects if each.value]
    if name not in known:
        raise UsageError(f"--dialect {name}: unknown dialect. {nearest(name, known)}")


def _parsed(text: str, source: SqlSource) -> exp.Expr:
    if mark := re.search(r"\{[{%#]", text):
        line = text.count("\n", 0, mark.start()) + 1
        raise UsageError(
            f"{source.name}, line {line}: {mark[0]} starts Jinja, which SQL of Segment does not contain. "
            "dbt models need no import: put them into models/audiences."
        )
    try:
        found = [each for each in sqlglot.parse(text, dialect=source.dialect) if each is not None]
    except (ParseError, SqlglotError) as error:
        details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        at = f"{source.name}, line {details.get('line') or 1}"
        near = f" near '{details['highlight']}'" if details.get("highlight") else ""
        raise UsageError(
            f"{at}: invalid {source.dialect} SQL{near}. {_readable_as(text, source.dialect)}"
        ) from None
    if len(found) != 1:
        raise UsageError(f"{source.name}: contains {len(found)} statements. Use one SELECT per file.")
    root = found[0].unnest() if isinstance(found[0], exp.Subquery) else found[0]
    if not isinstance(root, exp.Select | exp.SetOperation):
        word = root.name if isinstance(root, exp.Command) else root.key
        raise source.refused(root, f"this is {word.upper()}, but an audience must be a SELECT.")
    for name in root.find_all(exp.Identifier):
        name.meta["written"] = name.name
        if not name.quoted or re.fullmatch(r"[A-Z0-9_]+", name.name):
            name.set("this", name.name.lower())
            name.set("quoted", False)
    for node in list(root.find_all(exp.NEQ, exp.EQ)):
        # `<> ALL` and `= ANY` of a query mean NOT IN and IN.
        side, quantifier = node.expression, exp.All if isinstance(node, exp.NEQ) else exp.Any
        query = side.this if isinstance(side, quantifier) else None
        if isinstance(query, exp.Query):
            query = query if isinstance(query, exp.Subquery) else exp.Subquery(this=query)
            within = exp.In(this=node.this, query=query)
            node.replace(exp.Not(this=within) if isinstance(node, exp.NEQ) else within)
    order = root.args.get("order")
    distinct = root.args.get("distinct")
    is_chosen_by = isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None
    if order is not None and root.args.get("limit") is None and not is_chosen_by:
        root.set("order", None)  # tables are unordered
    return root


def _readable_as(text: str, dialect: str) -> str:
    others = []
    for name in dict.fromkeys(DIALECTS.values()):
        try:
            if name != dialect and all(
                isinstance(each, exp.Query) for each in sqlglot.parse(text, dialect=name) if each
            ):
                others.append(name)
        except SqlglotError:
            continue
    if others:
        return f"It is valid {' or '.join(others)}: set the dialect with --dialect."
    return "If it is another dialect, set it with --dialect."


def _check(root: exp.Expr, source: SqlSource) -> None:
    for node in root.walk():
        for kind, words in _REFUSED.items():
            if isinstance(node, kind):
                raise source.refused(node, f"{words} cannot be translated. Remove it.")
        if isinstance(node, exp.With) and node.recursive:
            raise source.refused(node, "WITH RECURSIVE cannot be translated. Remove it.")
        if isinstance(node, exp.Join) and node.method == "NATURAL":
            raise source.refused(node, "NATURAL JOIN cannot be translated. Write the join condition with ON.")
        if isinstance(node, exp.Join) and node.method == "ASOF":
            raise source.refused(node, "ASOF JOIN cannot be translated. Remove it.")
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            raise source.refused(node, f"{node.sql(source.dialect)}: a table function cannot be translated.")


def _check_functions(root: exp.Expr, source: SqlSource, dialect: str) -> None:
    """Keep engine-specific functions in the same dialect, and reject them in any other."""
    if is_alike(source.dialect, dialect):
        return
    for node in root.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        raise source.refused(
            node,
            f"{node.name}() of {source.dialect} has no translation to {dialect}. Rewrite it, or set the "
            "SQL's dialect with --dialect.",
        )


def _without_own_names(root: exp.Expr, columns: Columns, dialect: str) -> None:
    """Replace aliases of a SELECT in its WHERE and HAVING, which only some engines support."""
    clauses = ("where", "having", *(("group",) if dialect == "fabric" else ()))
    for select in root.find_all(exp.Select):
        own = {each.alias: each.this for each in select.expressions if isinstance(each, exp.Alias)}
        for clause in filter(None, (select.args.get(name) for name in clauses)):
            for node in list(clause.find_all(exp.Column)):
                is_own = columns.of(node) is None and not node.table and node.name in own
                if is_own and node.find_ancestor(exp.Select) is select:
                    meant = own[node.name].copy()
                    node.replace(meant if isinstance(meant, exp.Func | exp.Column) else exp.paren(meant))


def _ladder(root: exp.Expr, columns: Columns, catalog: Catalog, key: str) -> CteLadder:
    """Determine the model's output: people, and other columns of the outer SELECT."""
    step = columns.step_of(root)
    assert step is not None
    outputs = once(step.outputs)
    person = next((each for each in outputs if each.meaning == "person"), None)
    if person is None:
        raise columns.source.refused(
            root, "the outer SELECT returns no user_id or anonymous_id to identify people. Add one."
        )
    extras = [each for each in outputs if each.meaning != "person"]
    for each in extras:
        if each.name.startswith("column "):
            raise columns.source.refused(
                root, f"{each.name} of the outer SELECT has no name. Name it with AS."
            )
        if each.name == "user_id":
            raise columns.source.refused(
                root, "user_id of the outer SELECT is not a message's user_id. Rename it."
            )
    profile = [name for name in ("user_id", PERSON, "email") if name in catalog.profile_columns]
    names = [each.name for each in extras]
    if key not in {*profile, *names}:
        if key not in catalog.profile_columns:
            known = {*catalog.profile_columns, *names}
            raise UsageError(
                f"--key {key}: neither revetl_profiles nor the outer SELECT has it. {nearest(key, known)}"
            )
        profile.append(key)
    return CteLadder(
        person=person.name,
        profile=[name for name in profile if name not in names],
        extras=names,
        key=key,
        is_unique=_is_unique(root, columns),
    )


def _is_unique(root: exp.Expr, columns: Columns) -> bool:
    """Whether the query returns a person at most once."""
    if not isinstance(root, exp.Select):
        return False
    group = root.args.get("group")
    if group is not None and len(group.expressions) == 1:
        (by,) = group.expressions
        if isinstance(by, exp.Literal) and by.is_int:
            place = int(by.name) - 1
            by = root.expressions[place].unalias() if place < len(root.expressions) else by
        return bool(isinstance(by, exp.Column) and by.name == PERSON)
    return False


def _name_relations(columns: Columns, ladder: CteLadder, jinja: Jinja) -> None:
    """Name the relations like steps, and make the query read those."""
    tables: list[tuple[exp.Table, str]] = []
    taken = set()
    for step in columns.steps:
        with_ = step.query.args.get("with_")
        taken |= {cte.alias.lower() for cte in with_.expressions} if with_ is not None else set()
        for node, found in step.scope.selected_sources.values():
            if isinstance(found, exp.Table):
                tables.append((found, columns.catalog.find(found).name))
            del node
    names: dict[str, str] = {}
    for relation in columns.catalog.relations:
        names[relation.name] = _free(relation.name, taken)
        taken.add(names[relation.name])
        ladder.relations.append(Cte(names[relation.name], ""))
    ladder.chosen, ladder.members = _free("chosen", taken), _free("members", taken)
    for node, relation_name in tables:
        name = names[relation_name]
        alias = node.alias_or_name
        node.meta.pop("quoted_table", None)
        node.set("this", exp.to_identifier(name))
        node.set("db", None)
        node.set("catalog", None)
        node.set("alias", None if alias == name else exp.TableAlias(this=exp.to_identifier(alias)))
    for rung, relation in zip(ladder.relations, columns.catalog.relations, strict=True):
        rung.text = of_relation(relation, columns.catalog, jinja)


_RESERVED = {
    "order",
    "group",
    "user",
    "table",
    "select",
    "from",
    "where",
    "case",
    "end",
    "all",
    "left",
    "right",
}


def _free(name: str, taken: Sequence[str] | set[str]) -> str:
    tries = [name] if name not in _RESERVED else []
    tries += [f"all_{name}", f"{name}_messages", *(f"{name}_{number}" for number in range(2, 100))]
    return next(each for each in tries if each not in taken)
