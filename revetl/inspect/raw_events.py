"""Events that landed in a schema that the project no longer reads: another `raw_schema` has none of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlglot import exp

from revetl import dbt
from revetl.errors import RevetlError, WarehouseError
from revetl.ingest.raw_tables import raw_columns
from revetl.project.workspace import CALL_OF, Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement, table

_REJECTED = "rejected_messages"


def left_behind(workspace: Workspace) -> str | None:
    """A warning where the target's raw schema has no event, and one that it has read before has: the schema
    that it has without the variable `raw_schema`, or any other that no target of the profile has by default,
    once the target's models have messages. None where there is nothing to warn of, or the warehouse cannot be
    read at once."""
    try:
        warehouse = workspace.warehouse(read_only=True, lock_timeout=0)
    except WarehouseError:
        return None
    try:
        return _warning(workspace, warehouse)
    except WarehouseError:
        return None
    finally:
        warehouse.close()


def _warning(workspace: Workspace, warehouse: Warehouse) -> str | None:
    now = workspace.raw_schema
    if _has_events(warehouse, now):
        return None
    default = f"{workspace.target.schema}_raw".lower()
    others = _schemas_with_events(warehouse) - {now.lower(), *_of_other_targets(workspace)}
    if default not in others and not _has_models_of_messages(workspace, warehouse):
        return None
    found = sorted(others, key=lambda each: (each != default, each))
    if not found:
        return None
    return (
        f"No event is in schema '{now}', which target '{workspace.target.name}' reads, and schema "
        f"'{found[0]}' has some. The next build would make models without them. To keep reading them, set "
        f"raw_schema: {found[0]} under vars.revetl in dbt_project.yml, or move the tables."
    )


def _schemas_with_events(warehouse: Warehouse) -> set[str]:
    """The schemas, in lower case, that have a table of raw messages as revetl makes it with a row in it."""
    expected = {name: set(columns) for name, columns in raw_columns().items() if name != _REJECTED}
    called = exp.In(
        this=exp.func("lower", exp.column("table_name", table="c")),
        expressions=[exp.convert(name) for name in expected],
    )
    rows = warehouse.rows(
        statement(
            "select c.table_schema, c.table_name, c.column_name from :columns as c "
            "where lower(c.table_catalog) = :database and :called",
            columns=table("columns", "information_schema"),
            database=warehouse.database.lower(),
            called=called,
        )
    )
    there: dict[tuple[str, str], set[str]] = {}
    for schema, name, each in rows:
        there.setdefault((str(schema), str(name)), set()).add(str(each).lower())
    return {
        schema.lower()
        for (schema, name), columns in there.items()
        if expected[name.lower()] <= columns and _has_rows(warehouse, table(name, schema, warehouse.database))
    }


def _has_events(warehouse: Warehouse, schema: str) -> bool:
    names = [name for name in raw_columns() if name != _REJECTED]
    return _any_has_rows(warehouse, (table(name, schema, warehouse.database) for name in names))


def _has_models_of_messages(workspace: Workspace, warehouse: Warehouse) -> bool:
    """Whether the target's staging models, as they were last built, have a message."""
    relations = workspace.manifest.relations()
    found = (relations[name] for name in (*CALL_OF, "stg_revetl__identifies") if name in relations)
    return _any_has_rows(warehouse, (table(alias, schema, base) for alias, schema, base in found))


def _any_has_rows(warehouse: Warehouse, tables: Iterable[exp.Table]) -> bool:
    asked = list(tables)
    there = warehouse.catalog(asked) if asked else []
    return any(
        columns is not None and _has_rows(warehouse, each) for each, columns in zip(asked, there, strict=True)
    )


def _has_rows(warehouse: Warehouse, relation: exp.Table) -> bool:
    return bool(warehouse.rows(exp.select(exp.Literal.number(1)).from_(relation).limit(1)))


def _of_other_targets(workspace: Workspace) -> set[str]:
    """The raw schemas, in lower case, that the profile's other targets have by default."""
    found: set[str] = set()
    with suppress(RevetlError):
        _, profile = dbt.read_profile(workspace.dbt, workspace.options)
        outputs: dict[str, Any] = profile.get("outputs") or {}
        for name in outputs:
            with suppress(RevetlError):
                other = dbt.read_target(workspace.dbt, replace(workspace.options, target=str(name)))
                if other.schema != workspace.target.schema:
                    found.add(f"{other.schema}_raw".lower())
    return found
