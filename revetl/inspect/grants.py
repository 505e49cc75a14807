"""The least privileges of each role, as statements for the project's engine: `revetl roles --print`.

Nothing is granted here: an administrator reviews and runs the statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from revetl.project.workspace import Workspace


@dataclass(frozen=True)
class SchemaNames:
    """Names of the project's schemas, quoted for its engine."""

    database: str
    raw: str
    models: tuple[str, ...]
    state: str
    compute: str


@dataclass(frozen=True)
class Role:
    """A role, its purpose, and the statements that grant its privileges."""

    name: str
    purpose: str
    statements: tuple[str, ...]


ROLES = {
    "revetl_loader": "`revetl load`: writes the raw tables",
    "revetl_transformer": "`dbt build`: reads the raw tables, creates the models",
    "revetl_runner": "`revetl sync`, `plan`, `reconcile` and `why`: reads the models, writes the state",
    "revetl_analyst": "reads the models, and the delivery state",
}

_READ, _WRITE, _MAKE = "read", "write", "make"
"""A role's privileges in a schema: read its tables; also write them; also create tables."""


def roles(workspace: Workspace) -> list[Role]:
    """Return the roles of a project, with statements for its target's engine; without statements if the
    engine has no roles."""
    engine = {"synapse": "fabric"}.get(workspace.target.type, workspace.target.type)
    granted = _ENGINES.get(engine)
    if granted is None:
        return [Role(name, purpose, ()) for name, purpose in ROLES.items()]
    places = _places(workspace)
    first = [f"create schema if not exists {name}" for name in (places.raw, *places.models, places.state)]
    first += [f"create role {name}" for name in ROLES if engine in _WITH_ROLES]
    return [
        Role("first", "creates what the others need", tuple(first)),
        *(
            Role(name, purpose, tuple(granted(name, places, _needs(name, places))))
            for name, purpose in ROLES.items()
        ),
    ]


def _places(workspace: Workspace) -> SchemaNames:
    dialect = {"synapse": "fabric"}.get(workspace.target.type, workspace.target.type)

    def quoted(name: str) -> str:
        return exp.to_identifier(name, quoted=dialect != "snowflake").sql(dialect)

    config = workspace.target.config
    models = {schema for _, schema, _ in workspace.manifest.relations(models_only=True).values()}
    database = (
        config.get("database") or config.get("dbname") or config.get("catalog") or config.get("project")
    )
    compute = config.get("warehouse")
    return SchemaNames(
        database=quoted(str(database)) if database else "",
        raw=quoted(workspace.raw_schema),
        models=tuple(map(quoted, sorted(models))),
        state=quoted(workspace.state_schema),
        compute=quoted(str(compute)) if compute else "",
    )


def _needs(role: str, places: SchemaNames) -> dict[str, str]:
    """Return a role's privileges by schema."""
    raw, models, state = places.raw, places.models, places.state
    needs = {
        "revetl_loader": {raw: _MAKE},
        # dbt creates missing raw and state tables, and records its builds in the latter.
        "revetl_transformer": {raw: _MAKE, **dict.fromkeys(models, _MAKE), state: _MAKE},
        "revetl_runner": {**dict.fromkeys(models, _READ), state: _MAKE},
        "revetl_analyst": {**dict.fromkeys(models, _READ), state: _READ},
    }
    return needs[role]


def _postgres(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    yield f"grant connect, temporary on database {places.database} to {role}"
    for schema, most in needs.items():
        yield f"grant usage{', create' if most == _MAKE else ''} on schema {schema} to {role}"
        rights = "select" if most == _READ else "select, insert, update, delete"
        yield f"grant {rights} on all tables in schema {schema} to {role}"
        maker = "revetl_runner" if schema == places.state else "revetl_transformer"
        if role != maker:
            yield (
                f"alter default privileges for role {maker} in schema {schema} "
                f"grant {rights} on tables to {role}"
            )


def _redshift(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    yield f"grant temp on database {places.database} to role {role}"
    for schema, most in needs.items():
        yield f"grant usage{', create' if most == _MAKE else ''} on schema {schema} to role {role}"
        rights = "select" if most == _READ else "select, insert, update, delete"
        yield f"grant {rights} for tables in schema {schema} to role {role}"


def _snowflake(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    if places.compute:
        yield f"grant usage on warehouse {places.compute} to role {role}"
    yield f"grant usage on database {places.database} to role {role}"
    for schema, most in needs.items():
        place = f"{places.database}.{schema}"
        yield f"grant usage on schema {place} to role {role}"
        if most == _MAKE:
            yield f"grant create table, create view on schema {place} to role {role}"
        rights = "select" if most == _READ else "select, insert, update, delete"
        for which in ("all", "future"):
            yield f"grant {rights} on {which} tables in schema {place} to role {role}"
            yield f"grant select on {which} views in schema {place} to role {role}"


def _bigquery(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    # BigQuery has no custom roles in SQL: the statements name an account.
    account = f'"serviceAccount:{role}@PROJECT.iam.gserviceaccount.com"'
    yield f"grant `roles/bigquery.jobUser` on project {places.database} to {account}"
    for schema, most in needs.items():
        right = "dataViewer" if most == _READ else "dataEditor"
        yield f"grant `roles/bigquery.{right}` on schema {schema} to {account}"


def _databricks(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    # Groups are created in the account console, not by a statement.
    yield f"grant use catalog on catalog {places.database} to {role}"
    for schema, most in needs.items():
        place = f"schema {places.database}.{schema}"
        rights = "use schema, select" + ("" if most == _READ else ", modify")
        yield f"grant {rights}{', create table' if most == _MAKE else ''} on {place} to {role}"


def _fabric(role: str, places: SchemaNames, needs: Mapping[str, str]) -> Iterator[str]:
    if _MAKE in needs.values():
        yield f"grant create table, create view to {role}"
    for schema, most in needs.items():
        rights = "select" if most == _READ else "select, insert, update, delete"
        yield f"grant {rights}{', alter' if most == _MAKE else ''} on schema::{schema} to {role}"


_ENGINES: dict[str, Callable[[str, SchemaNames, Mapping[str, str]], Iterator[str]]] = {
    "postgres": _postgres,
    "redshift": _redshift,
    "snowflake": _snowflake,
    "bigquery": _bigquery,
    "databricks": _databricks,
    "fabric": _fabric,
}
"""The engines that support grants; in DuckDB and Spark, file permissions control access."""

_WITH_ROLES = frozenset({"postgres", "redshift", "snowflake", "fabric"})
"""Engines where a statement creates roles."""
