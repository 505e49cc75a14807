"""Databricks, with its SQL connector: like Spark, on Delta tables in Unity Catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import WarehouseError
from revetl.warehouse.base import Opening
from revetl.warehouse.dbt_connection import dbt_credentials, signing_in
from revetl.warehouse.engine import Engine, by_database, defined, found_in, without
from revetl.warehouse.rewrite import as_merge
from revetl.warehouse.spark import NO_SCHEMA, Spark, first_sentence
from revetl.warehouse.templates import statement, table

_NO_CATALOG = "hive_metastore"
"""The legacy catalog, which has no information schema, only Spark's statements."""

_COLUMNS = """
select c.table_catalog, c.table_schema, c.table_name, c.column_name, c.full_data_type
from :columns as c where :named order by c.ordinal_position
"""


def open_engine(target: Target, opening: Opening) -> Databricks:
    """Open the catalog of a dbt-databricks target; see `open_warehouse`."""
    from databricks import sql
    from dbt.adapters.databricks.handle import SqlUtils

    with signing_in(target, "Databricks"):
        credentials = dbt_credentials(target)
        words = SqlUtils.prepare_connection_arguments(
            credentials, credentials.authenticate(), credentials.http_path
        )
        connection = sql.connect(**words)
    warehouse = Databricks(connection, target, opening, str(credentials.database))
    warehouse.prepare()
    return warehouse


class _Result:
    """A statement's rows, with the interface of a Spark session's result."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def collect(self) -> list[tuple[Any, ...]]:
        return self._rows


class Databricks(Spark):
    """`revetl.warehouse.Warehouse` with a Databricks connection."""

    dialect = "databricks"
    title = "Databricks"
    hash_by = "databricks"

    def __init__(self, connection: Any, target: Target, opening: Opening, catalog: str) -> None:
        super().__init__(connection, target, opening)
        self.database = catalog
        # All tables are Delta tables.
        self._rows_change = True

    def prepare(self) -> None:
        self._sql("set time zone 'UTC'")
        if not self._light:
            self.drop_forgotten()

    def _sql(self, text: str) -> _Result:
        cursor = self.execute(text)
        with self.told():
            rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            cursor.close()
        return _Result(rows)

    def sentence(self, error: Exception) -> str:
        return without(self._secrets, first_sentence(error))

    def run(self, sql: exp.Expr) -> None:
        # Databricks doesn't support nested subqueries in DELETE and UPDATE.
        super().run(as_merge(sql))

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        return Engine.rows(self, sql)

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        cursor = self.execute(self.rendered(sql))
        while True:
            with self.told():
                part: pa.Table = cursor.fetchmany_arrow(batch_rows)
            if not part.num_rows:
                break
            yield from part.to_batches(max_chunksize=batch_rows)
        cursor.close()

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        self._replace_table(exp.Create(this=made, kind="TABLE", replace=True, expression=query))
        self._made.add(made.name)

    def load(self, made: exp.Table, data: pa.Table) -> None:
        Engine.load(self, made, data)

    def define(self, made: exp.Table, columns: dict[str, exp.DataType]) -> None:  # type: ignore[override]
        self._replace_table(exp.Create(this=defined(made, columns), kind="TABLE", replace=True))
        self._made.add(made.name)

    def _replace_table(self, create: exp.Create) -> None:
        self.made_in(self._state_schema, lambda: self.run(create), NO_SCHEMA)

    def _adapt(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.TimeStrToTime):
            return exp.cast(node.this, "timestampntz")
        catalog = node.args.get("catalog") if isinstance(node, exp.Table) else None
        made = super()._adapt(node)
        if catalog is not None:
            # Unlike Spark, Databricks has several catalogs.
            made.set("catalog", catalog)
        return made

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        by_catalog = by_database(relations, self.database, self.schema, str.lower)
        if _NO_CATALOG in by_catalog:
            plain = [table(relation.name, relation.db or None) for relation in relations]
            return super().catalog(plain)
        found: list[Any] = []
        for catalog, named in by_catalog.items():
            columns = table("columns", "information_schema", catalog)
            found += self.rows(statement(_COLUMNS, columns=columns, named=named))
        return found_in(found, relations, self.database, self.schema)

    def types_of(self, query: exp.Query) -> dict[str, str]:
        described = self._sql(self.commented(f"DESCRIBE QUERY {self.adapted(query).sql(self.dialect)}"))
        return {name: kind for name, kind, *_ in described.collect()}

    def close(self) -> None:
        for name in sorted(self._made):
            with suppress(WarehouseError):
                self.run(statement("drop table if exists :made", made=table(name)))
        self._made.clear()
        self.connection.close()
