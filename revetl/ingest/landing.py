"""Insert parsed messages into the raw tables: in the same DuckDB file, or in another warehouse as Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import duckdb
import pyarrow as pa
from sqlglot import exp

from revetl.ingest import rules
from revetl.ingest.raw_tables import REJECTED, check_all_ours, raw_columns
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    query,
    statement,
    table,
)

_STORED_AS = {"json": "json using compression zstd"}
"""Documents are most of the data. Compression makes them ten times smaller, and faster to write."""

_BATCH_ROWS = 100_000
_ARRIVED = table("revetl_arrived")
_FRESH = table("revetl_fresh")


@dataclass(frozen=True)
class LandingInfo:
    """The common attributes of a file's messages: when they are loaded, and their source."""

    now: datetime
    source: str | None = None


class Landing(Protocol):
    """Inserts the messages of `parsed_messages`, a temporary table of the parsing connection."""

    def create(self) -> None:
        """Create the raw schema, and missing tables and columns."""

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction."""

    def land(self, message_type: str, name: str, landed: LandingInfo) -> int:
        """Insert the messages of a type with new ids, the first of each id, into the table `name`. Returns
        their number."""

    def keep_rejected(self, file: str, now: datetime) -> None:
        """Store rejected lines, except those stored before."""


class SameFile:
    """Inserts into the open DuckDB file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, raw_schema: str) -> None:
        self.connection = connection
        self.raw_schema = raw_schema

    def create(self) -> None:
        found = self.connection.execute(
            "select table_name, list(column_name) from duckdb_columns() where lower(schema_name) = lower(?) "
            "and database_name = current_database() and table_name in (select unnest(?)) group by table_name",
            [self.raw_schema, list(raw_columns())],
        )
        check_all_ours(self.raw_schema, dict(found.fetchall()))
        self.connection.execute(f'create schema if not exists "{self.raw_schema}"')
        for name, columns in raw_columns().items():
            definition = ", ".join(f'"{each}" {_STORED_AS.get(kind, kind)}' for each, kind in columns.items())
            table = f'"{self.raw_schema}"."{name}"'
            self.connection.execute(f"create table if not exists {table} ({definition})")
            there = {row[0] for row in self.connection.execute(f"describe {table}").fetchall()}
            # Tables created by older versions have fewer columns.
            for each, kind in columns.items():
                if each not in there:
                    self.connection.execute(f'alter table {table} add column "{each}" {kind}')

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.connection.begin()
        try:
            yield
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise

    def land(self, message_type: str, name: str, landed: LandingInfo) -> int:
        columns = rules.landed_columns(name)
        names = ", ".join(f'"{each}"' for each in columns)
        values = ", ".join(f'{value} as "{each}"' for each, value in columns.items())
        # Deduplicate by row id, so that documents are only read once, when they are inserted.
        ((count,),) = self.connection.execute(
            f"""
            insert into "{self.raw_schema}"."{name}" ({names})
            with messages as (
                select rowid as place, {columns["id"]} as id from parsed_messages
                where reason is null and type = '{message_type}'
            ),
            first_of_each as (
                select min(place) as place from messages
                where id not in (
                    select landed.id from "{self.raw_schema}"."{name}" as landed where landed.id is not null
                )
                group by id
            )
            select {values} from parsed_messages where rowid in (select place from first_of_each)
            """,
            {"now": landed.now, "source": landed.source},
        ).fetchall()
        return int(count)

    def keep_rejected(self, file: str, now: datetime) -> None:
        self.connection.execute(
            f"""
            insert into "{self.raw_schema}"."{REJECTED}" (file, line_number, reason, text, uuid_ts)
            select $file, line_number, reason, text, $now from parsed_messages as m
            where reason is not null and not exists (
                select 1 from "{self.raw_schema}"."{REJECTED}" as kept
                where kept.file = $file and kept.line_number = m.line_number
                and kept.reason = m.reason and kept.text is not distinct from m.text
            )
            order by line_number
            """,
            {"file": file, "now": now},
        )


def _for_others(value: str, kind: str) -> str:
    """Convert a value for other engines: documents to text, and the null character, which few engines can
    store, to U+FFFD."""
    if kind == "json":
        return f"cast({value} as varchar)"
    return f"replace({value}, chr(0), chr(65533))" if kind == "varchar" else value


class RemoteLanding:
    """Inserts into another warehouse than the one that parses."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, raw_schema: str) -> None:
        self.connection = connection
        self.warehouse = warehouse
        self.raw_schema = raw_schema

    def create(self) -> None:
        tables = [self._table(name) for name in raw_columns()]
        before = zip(raw_columns(), self.warehouse.catalog(tables), strict=True)
        check_all_ours(self.raw_schema, {name: there for name, there in before if there is not None})
        self.warehouse.create_schema(self.raw_schema)
        for name, columns in raw_columns().items():
            definition = exp.Schema(
                this=self._table(name),
                expressions=[
                    exp.ColumnDef(
                        this=exp.to_identifier(each, quoted=True), kind=self.warehouse.type_of(kind)
                    )
                    for each, kind in columns.items()
                ],
            )
            self.warehouse.run(exp.Create(this=definition, kind="TABLE", exists=True))
        # Tables created by older versions have fewer columns.
        catalog = self.warehouse.catalog(tables)
        for (name, columns), found in zip(raw_columns().items(), catalog, strict=True):
            there = {each.lower() for each in found or columns}
            for each, kind in columns.items():
                if each not in there:
                    column_def = exp.ColumnDef(
                        this=exp.to_identifier(each, quoted=True), kind=self.warehouse.type_of(kind)
                    )
                    alter = exp.Alter(this=self._table(name), kind="TABLE", actions=[column_def])
                    self.warehouse.run(alter)

    def transaction(self) -> AbstractContextManager[None]:
        return self.warehouse.transaction()

    def land(self, message_type: str, name: str, landed: LandingInfo) -> int:
        columns = rules.landed_columns(name)
        kinds = raw_columns()[name]
        values = ", ".join(
            f'{_for_others(value, kinds[each])} as "{each}"' for each, value in columns.items()
        )
        reader = self._read(
            f"""
            with first_of_each as (
                select min(rowid) as place from parsed_messages
                where reason is null and type = '{message_type}' group by {columns["id"]}
            )
            select {values} from parsed_messages where rowid in (select place from first_of_each)
            """,
            {"now": landed.now, "source": landed.source},
        )
        there = query(
            "select n.* from :arrived as n where not exists (select 1 from :raw as r where r.id = n.id)",
            arrived=_ARRIVED,
            raw=self._table(name),
        )
        return sum(self._insert(name, list(columns), batch, there) for batch in reader)

    def keep_rejected(self, file: str, now: datetime) -> None:
        reader = self._read(
            f"select $file as file, line_number, reason, {_for_others('text', 'varchar')} as text, "
            "$now as uuid_ts from parsed_messages "
            "where reason is not null order by line_number",
            {"file": file, "now": now},
        )
        fresh = query(
            """
            select n.* from :arrived as n where not exists (
                select 1 from :kept as k
                where k.file = n.file and k.line_number = n.line_number
                and k.reason = n.reason and k.text is not distinct from n.text
            )
            """,
            arrived=_ARRIVED,
            kept=self._table(REJECTED),
        )
        for batch in reader:
            self._insert(REJECTED, batch.schema.names, batch, fresh)

    def _read(self, sql: str, parameters: dict[str, object]) -> Iterator[pa.RecordBatch]:
        yield from self.connection.sql(sql, params=parameters).to_arrow_reader(_BATCH_ROWS)

    def _insert(self, name: str, columns: list[str], batch: pa.RecordBatch, fresh: exp.Query) -> int:
        """Insert the rows of a batch that the query `fresh` selects. Returns their number."""
        kinds = raw_columns()[name]
        self.warehouse.load(_ARRIVED, pa.Table.from_batches([batch]))
        self.warehouse.temporary(_FRESH, fresh)
        values = [
            self.warehouse.document(column(each, of="n"))
            if kinds[each] == "json"
            else exp.cast(column(each, of="n"), self.warehouse.type_of(kinds[each]))
            for each in columns
        ]
        rows = exp.select(*values).from_(exp.alias_(_FRESH.copy(), "n", table=True))
        into = exp.Schema(
            this=self._table(name), expressions=[exp.to_identifier(each, quoted=True) for each in columns]
        )
        self.warehouse.run(exp.Insert(this=into, expression=rows))
        ((count,),) = self.warehouse.rows(statement("select count(*) from :fresh as n", fresh=_FRESH))
        return int(count)

    def _table(self, name: str) -> exp.Table:
        return table(name, self.raw_schema, self.warehouse.database)
