"""The warehouse under a test's project: SQL is written as DuckDB has it, and translated for the others."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import duckdb
import sqlglot
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.warehouse import Opening, Warehouse, open_warehouse
from tests.warehouses.postgres import PostgresServer, running_postgres

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
                    found = [tuple(map(self._read, row)) for row in warehouse.rows(made)]
                elif isinstance(made, exp.Create) and made.args.get("replace") and self.type != "snowflake":
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

    def _read(self, value: Any) -> Any:
        # fakesnow gives a driver this for a timestamp that is null.
        return None if self.type == "snowflake" and value == datetime(1970, 1, 1) else value

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
def _postgres() -> PostgresServer:
    """The server that the tests of this process share."""
    folder = tempfile.mkdtemp(prefix="revetl-postgres-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = running_postgres(Path(folder))
    atexit.register(server.__exit__, None, None, None)
    return server.__enter__()


@functools.cache
def _snowflake_server() -> dict[str, Any]:
    import snowflake.connector

    from tests.warehouses.snowflake import running_snowflake

    connect = snowflake.connector.connect

    def patient(**given: Any) -> Any:
        # What the server does not know is tried again for ever.
        return connect(**given, network_timeout=15)

    snowflake.connector.connect = patient
    stack = contextlib.ExitStack()
    folder = Path(tempfile.mkdtemp(prefix="revetl-snowflake-"))
    served = stack.enter_context(running_snowflake(folder, "tests.helpers.fakesnow"))
    atexit.register(stack.close)
    return served.driver


def make_backend(engine: str, root: Path) -> Backend:
    """A fresh warehouse of an engine for one project."""
    if engine == "duckdb":
        return DuckDBFile(root)
    if engine == "postgres":
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        _postgres().create_database(name)
        output = {"type": "postgres", "host": _postgres().host, "port": 5432, "user": "postgres"}
        return Elsewhere({**output, "password": "", "dbname": name, "schema": "public"}, name, "public")
    if engine == "spark":
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        output = {"type": "spark", "method": "session", "host": "NA", "schema": name}
        made = Elsewhere(output, None, name, f"revetl_{name}")
        warehouse = made.open()
        warehouse.create_schema(name)
        warehouse.close()
        return made
    if engine == "snowflake":
        import snowflake.connector

        driver = _snowflake_server()
        name = f"shop_{os.getpid()}_{next(_numbers)}"
        with snowflake.connector.connect(**driver) as connection:
            for text in (f"create database {name}", f"create schema {name}.shop"):
                connection.cursor().execute(text)
        output = {"type": "snowflake", **driver, "database": name, "schema": "shop"}
        return Elsewhere(output, name, "shop")
    raise AssertionError(f"no such engine: {engine}")
