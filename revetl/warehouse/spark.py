"""Spark 3.5 or later, with a session: a Connect client if SPARK_REMOTE is set.

Spark has no transactions; statements are atomic individually. Delta, Iceberg and Hudi tables support UPDATE,
DELETE and MERGE. For Parquet tables, such a statement creates a new table, which replaces the old one.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import UsageError, WarehouseError
from revetl.warehouse.base import NONFINITE, Opening
from revetl.warehouse.engine import Engine, call, found_in
from revetl.warehouse.rewrite import rewritten
from revetl.warehouse.templates import statement, table

Result = TypeVar("Result")
_EXACT_DIGITS = 15
_SCRATCH = "revetl_"
"""The prefix of temporary tables, which are unqualified."""

_OF_SESSION = re.compile(rf"{_SCRATCH}\w+__(\d{{8}})[0-9a-f]{{8}}")
_OLDEST_SCRATCH = timedelta(days=2)
NO_SCHEMA = "schema_not_found"
"""Part of Spark's error for a missing schema."""

_REPLACED = "FILE_NOT_EXIST"
"""Part of Spark's error if a table's files were replaced since Spark listed them."""

_RELATION = re.compile(r"Relation (?:\w+\.)?(\w+)\.(\w+)\[")
"""A table in Spark's explained plan."""

_REFRESHES = 3
_ROW_FORMATS = frozenset({"delta", "iceberg", "hudi"})
_NEXT = "__revetl_next"
_COLUMN = re.compile(r"^ \|-- (.+?): (.+?) \(nullable", re.MULTILINE)
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_SCALED = "^(-?[0-9]+([.][0-9]*[1-9])?)[.]?0*(E.*)?$"
"""A decimal's text; the parts outside of groups are due to the scale. Outside of ANSI mode, Spark formats
small numbers with an exponent."""


def open_engine(target: Target, opening: Opening) -> Spark:
    """Open the catalog of a dbt-spark target; see `open_warehouse`."""
    method = target.config.get("method")
    if method != "session":
        raise UsageError(
            f"profiles.yml: target '{target.name}' has method '{method}', which revetl does not support. Use "
            "method 'session', and set SPARK_REMOTE for a server."
        )
    try:
        session = _new_session(target.config.get("server_side_parameters") or {})
    except Exception as error:
        raise WarehouseError(f"Could not connect to Spark: {first_sentence(error)}") from None
    warehouse = Spark(session, target, opening)
    warehouse.prepare()
    return warehouse


def _new_session(parameters: Mapping[str, str]) -> Any:
    """Create a session without cached tables: a session caches the files of tables, and would read outdated
    or missing files after dbt replaces them."""
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder
    for name, value in parameters.items():
        builder = builder.config(name, value)
    if remote := os.environ.get("SPARK_REMOTE"):
        return builder.remote(remote).create()
    return builder.enableHiveSupport().getOrCreate().newSession()


def first_sentence(error: Exception) -> str:
    """Return the message of Spark's error, without its class, statement and plan."""
    text = str(error).strip() or repr(error)
    line = text.splitlines()[0]
    return re.sub(r"^\([\w.]+\)\s*", "", line).removesuffix(" SQLSTATE:").strip()


_ISO = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"


class Spark(Engine):
    """`revetl.warehouse.Warehouse` with a Spark session."""

    dialect = "spark"
    title = "Spark"
    has_transactions = False
    errors: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    def __init__(self, session: Any, target: Target, opening: Opening) -> None:
        super().__init__(session, target, "")
        self.schema = str(target.config.get("schema", "default"))
        self._state_schema = opening.state_schema
        self._light = opening.light
        # Includes the date, so that other sessions can find leftovers of killed ones.
        self._session_id = f"{datetime.now(UTC):%Y%m%d}{uuid.uuid4().hex[:8]}"
        self._columns: dict[str, list[str]] = {}

    def prepare(self) -> None:
        """Set up the session, and repair leftovers of killed sessions."""
        self._sql("set time zone 'UTC'")
        # revetl's timestamps have no zone.
        self._sql("set spark.sql.timestampType = TIMESTAMP_NTZ")
        ((version,),) = self._sql("select version()").collect()
        major = version.split(" ")[0]
        self.hash_by = f"spark {'.'.join(major.split('.')[:2])}"
        source = self._sql("set spark.sql.sources.default").collect()[0][1]
        self._rows_change = str(source).lower() in _ROW_FORMATS
        if not self._light:
            self._repair()
            self.drop_forgotten()

    def _repair(self) -> None:
        """Finish interrupted replacements of tables."""
        pattern = exp.convert(f"*{_NEXT}").sql(self.dialect)
        with suppress(WarehouseError):
            left = self._sql(f"show tables in `{self._state_schema}` like {pattern}").collect()
            for row in left:
                passing = table(row[1], self._state_schema)
                name = table(row[1].removesuffix(_NEXT), self._state_schema)
                if self.exists(name):
                    self._sql(f"drop table if exists {passing.sql(self.dialect)}")
                else:
                    self._sql(f"alter table {passing.sql(self.dialect)} rename to {name.sql(self.dialect)}")

    def drop_forgotten(self) -> None:
        """Drop scratch tables that sessions left days ago."""
        before = f"{datetime.now(UTC) - _OLDEST_SCRATCH:%Y%m%d}"
        pattern = exp.convert(f"{_SCRATCH}*__2*").sql(self.dialect)
        with suppress(WarehouseError):
            for row in self._sql(f"show tables in `{self._state_schema}` like {pattern}").collect():
                forgotten = table(row[1], self._state_schema)
                session = _OF_SESSION.fullmatch(row[1])
                if session and session[1] < before:
                    self._sql(f"drop table if exists {forgotten.sql(self.dialect)}")

    def _sql(self, text: str) -> Any:
        with self.told():
            return self.connection.sql(text)

    def sentence(self, error: Exception) -> str:
        return first_sentence(error)

    def run(self, sql: exp.Expr) -> None:
        if not self._rows_change and isinstance(sql, exp.Delete | exp.Update | exp.Merge):
            changed = rewritten(sql, self._columns_of(sql.this))
            assert changed is not None
            self._replace(*changed)
            return
        self._sql(self.rendered(sql))

    def _columns_of(self, relation: exp.Expr) -> list[str]:
        plain = self.adapted(exp.Select(expressions=[exp.Star()]).from_(relation.copy())).find(exp.Table)
        assert plain is not None
        name = exp.table_(plain.name, db=plain.db, quoted=True).sql(self.dialect)
        if name not in self._columns:
            self._columns[name] = [row[0] for row in self._sql(f"describe {name}").collect()]
        return self._columns[name]

    def _replace(self, relation: exp.Table, query: exp.Query) -> None:
        """Replace a table by the rows of a query, which may read it. If interrupted before the drop, the old
        table remains; after it, `_repair` finds the new one."""
        name = self.adapted(relation)
        assert isinstance(name, exp.Table)
        passing = table(f"{name.name}{_NEXT}", name.db)
        words = {"name": name.sql(self.dialect), "passing": passing.sql(self.dialect)}
        create = exp.Create(this=passing, kind="TABLE", expression=query)

        def written() -> None:
            self._sql(f"drop table if exists {words['passing']}")
            self._sql(self.rendered(create))

        self._refreshed(create, written)
        self._sql(f"drop table {words['name']}")
        self._sql(f"alter table {words['passing']} rename to {words['name']}")

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        def read() -> list[tuple[Any, ...]]:
            found = self._sql(self.rendered(sql))
            with self.told():
                return [tuple(row) for row in found.collect()]

        return self._refreshed(sql, read)

    def _refreshed(self, sql: exp.Expr, work: Callable[[], Result]) -> Result:
        """Run `work`, and retry after a refresh if another process replaced files of the tables that the
        statement reads."""
        for _ in range(_REFRESHES):
            try:
                return work()
            except WarehouseError as error:
                if _REPLACED not in str(error):
                    raise
            for name in self._tables_of(sql):
                with suppress(WarehouseError):
                    self._sql(f"refresh table {name}")
        return work()

    def _tables_of(self, sql: exp.Expr) -> set[str]:
        """Return the tables that a statement's query reads, by Spark's plan, including tables of views, which
        refreshing a view doesn't refresh."""
        query = sql.expression if isinstance(sql, exp.Create) else sql
        plan = "\n".join(row[0] for row in self._sql(f"explain extended {self.rendered(query)}").collect())
        return {f"`{schema}`.`{name}`" for schema, name in _RELATION.findall(plan)}

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        from pyspark.sql.pandas.types import to_arrow_schema

        frame = self._sql(self.rendered(sql))
        with self.told():
            schema = to_arrow_schema(frame.schema)
            # Fetches one partition at a time, while an Arrow table would be the complete result.
            rows = iter(frame.toLocalIterator())
        while True:
            with self.told():
                part = [tuple(row) for row in islice(rows, batch_rows)]
            if not part:
                break
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*part, strict=True), schema, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=schema.names)

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        self.run(statement("drop table if exists :made", made=made))
        create = exp.Create(this=made, kind="TABLE", expression=query)
        self.made_in(self._state_schema, lambda: self.run(create), NO_SCHEMA)
        self._made.add(made.name)
        self._columns.clear()

    def load(self, made: exp.Table, data: pa.Table) -> None:
        self.run(statement("drop table if exists :made", made=made))
        name = self.adapted(made).sql(self.dialect).replace("`", "")

        def loaded() -> None:
            with self.told():
                self.connection.createDataFrame(_typed(data)).write.saveAsTable(name)

        self.made_in(self._state_schema, loaded, NO_SCHEMA)
        self._made.add(made.name)
        self._columns.clear()

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return sql.transform(self._adapt)

    def _adapt(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Table):
            if node.catalog:
                node.set("catalog", None)
            if not node.db and node.name.startswith(_SCRATCH):
                node.set("this", exp.to_identifier(f"{node.name}__{self._session_id}", quoted=True))
                node.set("db", exp.to_identifier(self._state_schema, quoted=True))
        elif isinstance(node, exp.DataType) and node.this == exp.DataType.Type.TIMESTAMP:
            return exp.DataType.build("timestampntz")
        return node

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build({"json": "text", "timestamp": "timestampntz"}.get(name, name))

    def document(self, text: exp.Expr) -> exp.Expr:
        return text

    def create_schema(self, name: str) -> None:
        self._sql(f"create schema if not exists `{name}`")

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        by_schema: dict[str, set[str]] = {}
        for relation in relations:
            by_schema.setdefault(relation.db or self.schema, set()).add(relation.name)
        found: list[tuple[str, str, str, str, str]] = []
        for schema, names in by_schema.items():
            pattern = exp.convert("|".join(sorted(names))).sql(self.dialect)
            try:
                rows = self._sql(f"show table extended in `{schema}` like {pattern}").collect()
            except WarehouseError as error:
                if "SCHEMA_NOT_FOUND" in str(error):
                    continue
                raise
            for _, name, _, information in rows:
                columns = _COLUMN.findall(str(information))
                found += [("", schema, name, column, kind) for column, kind in columns]
        return found_in(found, relations, "", self.schema)

    def types_of(self, query: exp.Query) -> dict[str, str]:
        frame = self._sql(self.rendered(query))
        with self.told():
            return {field.name: field.dataType.simpleString() for field in frame.schema.fields}

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # xxhash64 skips nulls, so hash each value with whether it is null.
        given: list[exp.Expr] = []
        for value, kind in values:
            if kind.lower().startswith(("map", "variant")):
                value = call("to_json", value)
            given += [exp.Is(this=value.copy(), expression=exp.null()), value.copy()]
        return call("xxhash64", *given)

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        digits = call("substr", exp.MD5(this=text), 1, 8)
        number = exp.cast(call("conv", digits, 16, 10), "bigint")
        return exp.paren(exp.Mod(this=number, expression=exp.convert(buckets)))

    def json_value(self, value: exp.Expr, kind: str) -> exp.Expr:
        kind = kind.lower()
        if kind.startswith("timestamp"):
            value = call("date_format", value, _ISO)
        elif kind in {"double", "float"}:
            return _json_float(value)
        elif found := _DECIMAL.match(kind):
            return _json_decimal(value, int(found[1]), int(found[2]))
        return _json(value, nested="timestamp" in kind)

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        return call("try_element_at", call("from_json", document, "map<string,string>"), name)

    def close(self) -> None:
        for name in self._made:
            with suppress(WarehouseError):
                self.run(statement("drop table if exists :made", made=table(name)))
        self._made.clear()
        if os.environ.get("SPARK_REMOTE"):
            # A local session can't be stopped without stopping all sessions of the process.
            self.connection.stop()


def _json(value: exp.Expr, *, nested: bool = False) -> exp.Expr:
    """Format a value as JSON text, by removing the brackets of an array of it. `nested`: format times in it
    as ISO 8601."""
    listed = call("to_json", call("array", value), *([_options()] if nested else []))
    return call("substr", listed, 2, exp.Sub(this=call("length", listed.copy()), expression=exp.convert(2)))


def _options() -> exp.Expr:
    return call("map", "timestampFormat", _ISO, "timestampNTZFormat", _ISO)


def _json_decimal(value: exp.Expr, digits: int, scale: int) -> exp.Expr:
    """Format a decimal as a number if JSON readers preserve it, else as text, independent of the scale."""
    text: exp.Expr = exp.cast(value.copy(), "text")
    if scale:
        is_zero = exp.EQ(this=value.copy(), expression=exp.convert(0))
        trimmed = call("regexp_replace", text, _SCALED, "$1$3")
        text = exp.Case(ifs=[exp.If(this=is_zero, true=exp.convert("0"))], default=trimmed)
    number = exp.func("coalesce", text, exp.convert("null"))
    if digits <= _EXACT_DIGITS:
        return number
    back = exp.cast(exp.cast(value.copy(), "double"), exp.DataType.build(f"decimal({digits}, {scale})"))
    # Null is not equal to itself.
    holds = exp.NullSafeEQ(this=back, expression=value.copy())
    return exp.Case(ifs=[exp.If(this=holds, true=number)], default=_json(text.copy()))


def _json_float(value: exp.Expr) -> exp.Expr:
    words = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
    ifs = [
        exp.If(this=exp.convert(said), true=exp.convert(f'{{"{NONFINITE}":"{word}"}}'))
        for said, word in words.items()
    ]
    return exp.Case(this=exp.cast(value.copy(), "text"), ifs=ifs, default=_json(value.copy()))


def _typed(data: pa.Table) -> pa.Table:
    """Convert columns of only nulls, which Spark doesn't support, to text."""
    fields = [
        pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field for field in data.schema
    ]
    return data.cast(pa.schema(fields))
