"""A warehouse whose statements are recorded as one engine would be sent them, and answered by DuckDB.

The runner is given `Recorded`: of each thing that it asks, the engine under test says its statement to a
connection that only keeps it, and DuckDB says what comes of it. So the runner's own code goes its whole way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

import pyarrow as pa
from sqlglot import exp

from revetl._version import __version__
from revetl.dbt.project_files import Target
from revetl.warehouse import Opening
from revetl.warehouse.bigquery import BigQuery
from revetl.warehouse.databricks import Databricks
from revetl.warehouse.duckdb import DuckDB
from revetl.warehouse.engine import Engine, replaced
from revetl.warehouse.fabric import Fabric, Synapse
from revetl.warehouse.redshift import Redshift
from revetl.warehouse.snowflake import Snowflake

ENGINES = ("snowflake", "bigquery", "redshift", "databricks", "fabric", "synapse")
Made = TypeVar("Made", bound=exp.Expr)

OURS = "duckdb"
"""Where an expression that is the engine's own keeps DuckDB's."""

_DUCKDB_TYPES = ("VARCHAR", "BIGINT", "DOUBLE", "DECIMAL(10,2)", "BOOLEAN", "TIMESTAMP", "DATE")
_TYPES: dict[str, tuple[Any, ...]] = {
    "snowflake": (
        ("TEXT", None, None), ("NUMBER", 38, 0), ("FLOAT", None, None), ("NUMBER", 10, 2),
        ("BOOLEAN", None, None), ("TIMESTAMP_NTZ", None, None), ("DATE", None, None),
    ),
    "bigquery": (
        ("STRING", None, None), ("INTEGER", None, None), ("FLOAT", None, None), ("NUMERIC", 10, 2),
        ("BOOLEAN", None, None), ("TIMESTAMP", None, None), ("DATE", None, None),
    ),
    "redshift": (
        ("character varying(65535)",), ("bigint",), ("double precision",), ("numeric(10,2)",), ("boolean",),
        ("timestamp without time zone",), ("date",),
    ),
    "databricks": (
        ("string",), ("bigint",), ("double",), ("decimal(10,2)",), ("boolean",), ("timestamp_ntz",), ("date",)
    ),
    "fabric": (
        ("varchar", None, None), ("bigint", 19, 0), ("float", 53, None), ("decimal", 10, 2),
        ("bit", None, None), ("datetime2", None, None), ("date", None, None),
    ),
}  # fmt: skip
"""What a catalog of the engine says of a column of each of DuckDB's types."""


class Recorder:
    """A driver's connection that keeps what it is told, under the heading that is set. It answers nothing but
    the questions about columns, by `columns`: of database, schema, table, column and DuckDB's type each."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.heading = ""
        self.said: dict[str, list[str]] = {}
        self.columns: list[tuple[str, str, str, str, str]] = []
        self.description: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []

    def keep(self, text: str) -> None:
        """Keep what was said, under the heading."""
        self.said.setdefault(self.heading, []).append(plain(text))

    def cursor(self) -> Recorder:
        return self

    def execute(self, text: str) -> None:
        self.keep(text)
        asked = re.search(r"information_schema.{0,3}\.?.{0,3}columns|pg_attribute", text, re.IGNORECASE)
        self._rows = [self._column(*each) for each in self.columns] if asked else []

    def _column(self, *column: str) -> tuple[Any, ...]:
        *place, kind = column
        names = [name.upper() for name in place] if self.engine == "snowflake" else place
        return (*names, *described(self.engine, kind))

    def describe(self, text: str) -> list[Any]:
        self.keep(text)
        return []

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def fetchmany(self, _: int) -> list[tuple[Any, ...]]:
        return []

    def fetch_arrow_batches(self) -> Iterator[pa.Table]:
        return iter(())

    def fetchmany_arrow(self, _: int) -> pa.Table:
        return pa.table({})

    def close(self) -> None:
        """Nothing to give back."""

    # As much of BigQuery's client as is used.

    def query(self, text: str, **_: Any) -> Any:
        self.keep(text)
        result = mock.MagicMock()
        result.__iter__.side_effect = lambda: iter(())
        result.to_arrow_iterable.side_effect = lambda: iter(())
        return SimpleNamespace(result=lambda: result, schema=[])

    def load_table_from_file(self, _: object, place: str, **__: Any) -> Any:
        self.keep(f"-- load {place}")
        return SimpleNamespace(result=lambda: None)

    def delete_table(self, place: str, **_: Any) -> None:
        self.keep(f"-- delete {place}")

    def get_dataset(self, _: str) -> Any:
        raise Missing

    def get_table(self, place: str) -> Any:
        fields = []
        for *names, column, kind in self.columns:
            if names == place.split("."):
                name, precision, scale = described("bigquery", kind)
                fields.append(
                    SimpleNamespace(name=column, field_type=name, precision=precision, scale=scale, mode="")
                )
        if not fields:
            raise Missing
        return SimpleNamespace(schema=fields)


class Missing(Exception):
    """BigQuery's answer about what is not there."""

    code = 404


def described(engine: str, kind: str) -> tuple[Any, ...]:
    """What a catalog says of a column of one of DuckDB's types."""
    found: tuple[Any, ...] = _TYPES["fabric" if engine == "synapse" else engine][_DUCKDB_TYPES.index(kind)]
    return found


def plain(text: str) -> str:
    """A statement without what another run has otherwise."""
    for pattern, word in {
        r"\d{8}T\d{6}-[0-9a-f]{8}": "RUN",
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?": "MOMENT",
        r"__(?:[0-9]{8}[0-9a-f]{8}|[0-9a-f]{12})\b": "__SESSION",
        r"'\d+/\d+/[^']*'": "'PROCESS'",
        r"file://\S+/rows": "file:///FOLDER/rows",
        r"\"file\":\"[^\"]*\"": '"file":"FILE"',
        r"\"path\":\"#[0-9a-f]+\"": '"path":"#HASH"',
        rf"'{re.escape(__version__)}'": "'VERSION'",
        r"[\w/.-]+/events\.jsonl": "EVENTS",
        # Hashes that DuckDB has made.
        r"-?\b\d{15,20}\b": "HASH",
    }.items():
        text = re.sub(pattern, word, text)
    return text


def make_engine(engine: str, recorder: Recorder, opening: Opening) -> Engine:
    """The engine under test, on the recorder."""
    target = Target("dev", engine, {"type": engine, "database": "revetl", "schema": "main"})
    if engine == "bigquery":
        return BigQuery(recorder, target, opening, mock.MagicMock(), "revetl")
    if engine == "databricks":
        return Databricks(recorder, target, opening, "revetl")
    kinds: dict[str, type[Engine]] = {
        "snowflake": Snowflake,
        "redshift": Redshift,
        "fabric": Fabric,
        "synapse": Synapse,
    }
    made = kinds[engine](recorder, target, "revetl")
    if isinstance(made, Snowflake):
        made.schema, made.hash_by = "main", "snowflake 9"
    return made


class Recorded:
    """`revetl.warehouse.Warehouse`: what is said is the engine's, and what comes of it DuckDB's."""

    def __init__(self, engine: Any, duck: DuckDB, recorder: Recorder) -> None:
        self.engine, self.duck, self.recorder = engine, duck, recorder
        self.dialect, self.hash_by, self.database = engine.dialect, engine.hash_by, duck.database
        self.has_transactions = engine.has_transactions
        self._look()

    @property
    def comment(self) -> str | None:
        text: str | None = self.engine.comment
        return text

    @comment.setter
    def comment(self, text: str | None) -> None:
        self.engine.comment = text

    def _look(self) -> None:
        found = self.duck.connection.execute(
            "select database_name, schema_name, table_name, column_name, data_type from duckdb_columns() "
            "where database_name = ? and not internal order by table_oid, column_index",
            [self.database],
        ).fetchall()
        # Literals of the test's are integers of four bytes.
        self.recorder.columns = [
            (*place, kind if kind in _DUCKDB_TYPES else "BIGINT") for *place, kind in found
        ]

    def _kinds(self) -> dict[str, str]:
        """The engine's names of types, by DuckDB's."""
        self.recorder.heading, heading = "", self.recorder.heading
        columns = self.recorder.columns
        self.recorder.columns = [
            ("revetl", "main", "kinds", f"k{at}", k) for at, k in enumerate(_DUCKDB_TYPES)
        ]
        (found,) = self.engine.catalog([exp.table_("kinds", db="main", catalog="revetl")])
        self.recorder.columns, self.recorder.heading = columns, heading
        assert found is not None
        return dict(zip(_DUCKDB_TYPES, found.values(), strict=True))

    def run(self, sql: exp.Expr) -> None:
        self.engine.run(sql)
        self.duck.run(ours(sql))
        if isinstance(sql, exp.DDL):
            self._look()

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        self.engine.rows(sql)
        return self.duck.rows(ours(sql))

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        list(self.engine.stream(sql, batch_rows))
        return self.duck.stream(ours(sql), batch_rows)

    def type_of(self, name: str) -> exp.DataType:
        theirs: exp.DataType = self.engine.type_of(name)
        return both(theirs, self.duck.type_of("varchar" if name == "json" else name))

    def document(self, text: exp.Expr) -> exp.Expr:
        theirs: exp.Expr = self.engine.document(text.copy())
        return both(theirs, text)

    def create_schema(self, name: str) -> None:
        self.engine.create_schema(name)
        self.duck.create_schema(name)

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        self.engine.temporary(made, query)
        found = ours(query)
        assert isinstance(found, exp.Query)
        self.duck.temporary(made, found)

    def make_room(self, size: int) -> None:
        self.engine.make_room(size)
        self.duck.make_room(size)

    def load(self, made: exp.Table, data: pa.Table) -> None:
        self.engine.load(made, data)
        self.duck.load(made, data)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.engine.transaction())
            if self.has_transactions:
                stack.enter_context(self.duck.transaction())
            yield

    def lock(self, name: exp.Table) -> None:
        self.engine.lock(name)

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        found: list[dict[str, str] | None] = self.engine.catalog(relations)
        return found

    def columns(self, relation: exp.Table | exp.Query) -> dict[str, str]:
        if isinstance(relation, exp.Table):
            named: dict[str, str] = self.engine.columns(relation)
            return named
        self.engine.types_of(relation)
        found = ours(relation)
        assert isinstance(found, exp.Query)
        kinds = self._kinds()
        return {name: kinds.get(kind, "varchar") for name, kind in self.duck.columns(found).items()}

    def exists(self, relation: exp.Table) -> bool:
        return self.engine.exists(relation) is True

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        theirs: exp.Expr = self.engine.row_hash(copied(values))
        return both(theirs, self.duck.row_hash(copied(values)))

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        theirs: exp.Expr = self.engine.bucket(text.copy(), buckets)
        return both(theirs, self.duck.bucket(text.copy(), buckets))

    def json_object(self, items: Mapping[str, tuple[exp.Expr, str]], whole: Collection[str] = ()) -> exp.Expr:
        own = {kind.lower(): name for name, kind in self._kinds().items()}
        here = {name: (value.copy(), own.get(kind.lower(), kind)) for name, (value, kind) in items.items()}
        there = {name: (value.copy(), kind) for name, (value, kind) in items.items()}
        theirs: exp.Expr = self.engine.json_object(there, whole)
        return both(theirs, self.duck.json_object(here, whole))

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        theirs: exp.Expr = self.engine.json_text(document.copy(), name)
        return both(theirs, self.duck.json_text(document.copy(), name))

    def json_differs(self, before: exp.Expr, after: exp.Expr, names: Sequence[str]) -> exp.Expr:
        theirs: exp.Expr = self.engine.json_differs(before.copy(), after.copy(), names)
        return both(theirs, self.duck.json_differs(before.copy(), after.copy(), names))

    def count_differences(self, both: exp.Query, names: Sequence[str]) -> exp.Query | None:
        # What DuckDB has of its own, it alone is asked; the golden statements show the tests of each member.
        return None

    def attach(self, target: Target, root: Path) -> str:
        return str(self.engine.attach(target, root))

    def close(self) -> None:
        self.engine.close()
        self.duck.close()


def copied(values: Sequence[tuple[exp.Expr, str]]) -> list[tuple[exp.Expr, str]]:
    """Values with expressions of their own."""
    return [(value.copy(), kind) for value, kind in values]


def both(theirs: Made, here: exp.Expr) -> Made:
    """The engine's expression, with DuckDB's for the same."""
    theirs.meta[OURS] = here
    return theirs


def ours(sql: exp.Expr) -> exp.Expr:
    """A statement as DuckDB can run it."""
    return replaced(sql, lambda node: ours(node.meta[OURS]) if OURS in node.meta else node)
