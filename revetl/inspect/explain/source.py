"""Decomposes an audience's compiled SQL into a `QueryLadder` of CTEs, with every column qualified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.eliminate_subqueries import eliminate_subqueries
from sqlglot.optimizer.qualify import qualify

from revetl.errors import WarehouseError
from revetl.project.workspace import AudienceModel, Workspace
from revetl.warehouse import Warehouse

TEXT = "revetl_text"
"""The metadata key of an expression's original text."""


class NotAnalysed(Exception):
    """Raised when a query, or a part of it, can't be explained."""


@dataclass(frozen=True)
class QueryLadder:
    """A query in steps: un-nested CTEs in order, and the final select. `tables` are the relations that the
    steps read, by their name in the steps; `columns` are the columns of every step and table."""

    root: exp.Query
    ctes: Mapping[str, exp.Query]
    tables: Mapping[str, exp.Table]
    columns: Mapping[str, tuple[str, ...]]
    dialect: str
    recursive: bool = False
    notes: tuple[str, ...] = field(default=())

    def real(self, expression: exp.Expr) -> exp.Expr:
        """Return the expression with the relations' original names."""

        def name(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Table) and not node.db and node.name in self.tables:
                relation = self.tables[node.name].copy()
                return exp.alias_(relation, node.alias, table=True) if node.alias else relation
            return node

        return expression.copy().transform(name)

    def asking(self, query: exp.Select) -> exp.Expr:
        """Return a query over the steps, including the steps as CTEs."""
        ctes = [
            exp.CTE(this=step.copy(), alias=exp.TableAlias(this=_name(name)))
            for name, step in self.ctes.items()
        ]
        whole = query.copy()
        if ctes:
            whole.set("with_", exp.With(expressions=ctes, recursive=self.recursive))
        return self.real(whole)


def compiled_sql(workspace: Workspace, audience: AudienceModel) -> tuple[str, tuple[str, ...]]:
    """Return an audience's SQL, and notes about it. Raises NotAnalysed if dbt didn't compile it."""
    document = orjson.loads(workspace.manifest.path.read_bytes())
    node = document["nodes"][audience.model.unique_id]
    if node.get("language", "sql") != "sql":
        raise NotAnalysed(f"{audience.name} is not a SQL model.")
    if node.get("compiled_code"):
        return str(node["compiled_code"]), ()
    written = node.get("original_file_path") or ""
    package = node.get("package_name") or workspace.dbt.name
    compiled = workspace.dbt.target_path / "compiled" / package / written
    if written and compiled.is_file():
        model = workspace.root / written
        return compiled.read_text(encoding="utf-8"), _age(compiled, model, audience.name)
    raw = node.get("raw_code") or ""
    if raw.strip() and "{{" not in raw and "{%" not in raw:
        return str(raw), ()
    raise NotAnalysed(
        f"The compiled SQL of {audience.name} is not in target/: run `dbt compile --select {audience.name}`."
    )


def _age(compiled: Path, model: Path, name: str) -> tuple[str, ...]:
    if model.is_file() and model.stat().st_mtime > compiled.stat().st_mtime:
        return (f"{name} was changed after it was compiled: run `dbt compile --select {name}`.",)
    return ()


def take_apart(sql: str, warehouse: Warehouse) -> QueryLadder:
    """Decompose a query. Raises NotAnalysed if it can't be parsed or its columns can't be resolved."""
    dialect = warehouse.dialect
    try:
        parsed = sqlglot.parse_one(sql, dialect=dialect)
    except SqlglotError as error:
        raise NotAnalysed(f"Its SQL could not be parsed: {_sentence(error)}") from None
    if not isinstance(parsed, exp.Query):
        raise NotAnalysed("Its SQL is not a query.")
    _keep_texts(parsed, dialect)
    tables = _name_tables(parsed)
    try:
        schema = {name: warehouse.columns(relation) for name, relation in tables.items()}
    except WarehouseError as error:
        raise NotAnalysed(f"It reads a relation that does not exist in the warehouse. {error}") from None
    try:
        whole = qualify(
            parsed,
            dialect=dialect,
            schema=dict(schema),
            quote_identifiers=False,
            validate_qualify_columns=False,
        )
        whole = eliminate_subqueries(whole)
    except (SqlglotError, RecursionError) as error:
        raise NotAnalysed(f"Its columns could not be resolved: {_sentence(error)}") from None
    query = whole.unnest() if isinstance(whole, exp.Subquery) else whole
    assert isinstance(query, exp.Query)
    with_ = query.args.get("with_")
    ctes = {cte.alias: cte.this for cte in with_.expressions} if with_ is not None else {}
    if with_ is not None:
        query.set("with_", None)
    columns = {name: tuple(found) for name, found in schema.items()}
    columns |= {name: tuple(step.named_selects) for name, step in ctes.items()}
    return QueryLadder(
        query,
        ctes,
        tables,
        columns,
        dialect,
        recursive=bool(with_ is not None and with_.args.get("recursive")),
    )


def words(expression: exp.Expr, dialect: str) -> str:
    """Return an expression's original text, on one line."""
    return str(expression.meta.get(TEXT) or _render(expression, dialect))


def _render(expression: exp.Expr, dialect: str) -> str:
    def negated(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Exists) and node.this.comments:
            # The package's own conditions describe themselves in a comment.
            return exp.Var(this=node.this.comments[0].strip())
        if isinstance(node, exp.Not) and isinstance(node.this, exp.Is | exp.In | exp.Between):
            inner = node.this
            subject = inner.this.sql(dialect, comments=False)
            rest = inner.sql(dialect, comments=False).removeprefix(subject).strip()
            word, _, last = rest.partition(" ")
            return exp.Var(this=f"{subject} {'IS NOT' if word == 'IS' else 'NOT ' + word} {last}")
        return node

    return expression.copy().transform(negated).sql(dialect, comments=False)


def _keep_texts(query: exp.Query, dialect: str) -> None:
    """Store the original text of conditions before their columns are qualified."""
    clauses = list(query.find_all(exp.Where, exp.Having, exp.Qualify, exp.Join))
    clauses += [ordered for select in query.find_all(exp.Select) if (ordered := select.args.get("order"))]
    for clause in clauses:
        for node in clause.walk(prune=lambda found: isinstance(found, exp.Query)):
            if isinstance(node, exp.Condition) and not isinstance(node, exp.Literal):
                node.meta[TEXT] = _render(node, dialect)


def _name_tables(query: exp.Query) -> dict[str, exp.Table]:
    """Give every relation a unique plain name, regardless of how it is qualified; the old name becomes its
    alias. CTEs stay as they are."""
    found: dict[str, exp.Table] = {}
    ctes = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    for node in list(query.find_all(exp.Table)):
        if not isinstance(node.this, exp.Identifier):
            continue
        if not node.db and node.name.lower() in ctes and not _is_within_its_namesake(node):
            continue
        relation = exp.Table(this=node.this.copy(), db=_copy(node, "db"), catalog=_copy(node, "catalog"))
        name = next((name for name, each in found.items() if each == relation), f"revetl_table_{len(found)}")
        found[name] = relation
        if not node.alias:
            node.set("alias", exp.TableAlias(this=node.this.copy()))
        node.set("this", exp.to_identifier(name))
        node.set("db", None)
        node.set("catalog", None)
    return found


def _is_within_its_namesake(node: exp.Table) -> bool:
    """Whether a CTE like `with people as (select * from people)` reads the table."""
    parent: exp.Expr | None = node.parent
    while parent is not None:
        if isinstance(parent, exp.CTE) and parent.alias.lower() == node.name.lower():
            return not (parent.parent and parent.parent.args.get("recursive"))
        parent = parent.parent
    return False


def _copy(node: exp.Expr, part: str) -> exp.Expr | None:
    found = node.args.get(part)
    return found.copy() if isinstance(found, exp.Expr) else None


def _name(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
