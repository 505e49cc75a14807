"""Spark, 3.5 or later: by a session (a Connect client where SPARK_REMOTE names a server), or by Thrift.

It has no transactions: each statement is one. Tables of Delta, Iceberg or Hudi take UPDATE, DELETE and MERGE;
of Parquet tables such a statement makes a new table, which takes the place of the old one.
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
"""Unqualified tables of such names are the runner's temporary ones."""

_OF_SESSION = re.compile(rf"{_SCRATCH}\w+__(\d{{8}})[0-9a-f]{{8}}")
_OLDEST_SCRATCH = timedelta(days=2)
NO_SCHEMA = "schema_not_found"
"""In what Spark says where there is none."""

_REPLACED = "FILE_NOT_EXIST"
"""In what Spark says where the files of a table are not those that it has listed."""

_RELATION = re.compile(r"Relation (?:\w+\.)?(\w+)\.(\w+)\[")
"""A table, in what Spark tells of a plan."""

_REFRESHES = 3
_ROW_FORMATS = frozenset({"delta", "iceberg", "hudi"})
_NEXT = "__revetl_next"
_COLUMN = re.compile(r"^ \|-- (.+?): (.+?) \(nullable", re.MULTILINE)
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_SCALED = "^(-?[0-9]+([.][0-9]*[1-9])?)[.]?0*(E.*)?$"
"""A decimal's text; what is outside of the groups is there for the scale alone. Spark writes small numbers
with an exponent, unless it is in ANSI mode."""


def open_engine(target: Target, opening: Opening) -> Spark:
    """The catalog of a dbt-spark target; see `open_warehouse`."""
    method = target.config.get("method")
    if method != "session":
        raise UsageError(
            f"profiles.yml: target '{target.name}' has method '{method}'; revetl opens Spark by method "
            "'session', with SPARK_REMOTE where there is a server."
        )
    try:
        session = _new_session(target.config.get("server_side_parameters") or {})
    except Exception as error:
        raise WarehouseError(f"Spark cannot be opened: {first_sentence(error)}") from None
    warehouse = Spark(session, target, opening)
    warehouse.prepare()
    return warehouse


def _new_session(parameters: Mapping[str, str]) -> Any:
    """A session that has seen no table yet: one keeps which files those have that it has seen, and would go
    on reading them, or none, when dbt has put others in their place."""
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder
    for name, value in parameters.items():
        builder = builder.config(name, value)
    if remote := os.environ.get("SPARK_REMOTE"):
        return builder.remote(remote).create()
    return builder.enableHiveSupport().getOrCreate().newSession()


def first_sentence(error: Exception) -> str:
    """The sentence of Spark's error, without its class, its statement and its plan."""
    text = str(error).strip() or repr(error)
    line = text.splitlines()[0]
    return re.sub(r"^\([\w.]+\)\s*", "", line).removesuffix(" SQLSTATE:").strip()


_ISO = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"


class Spark(Engine):
    """`revetl.warehouse.Warehouse` on a Spark session."""

    dialect = "spark"
    title = "Spark"
    has_transactions = False
    errors: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    def __init__(self, session: Any, target: Target, opening: Opening) -> None:
        super().__init__(session, target, "")
        self.schema = str(target.config.get("schema", "default"))
        self._state_schema = opening.state_schema
        self._light = opening.light
        # With the day, by which others know what a killed session has left.
        self._session_id = f"{datetime.now(UTC):%Y%m%d}{uuid.uuid4().hex[:8]}"
        self._columns: dict[str, list[str]] = {}

    def prepare(self) -> None:
        """Set up the session, and mend what one that was killed has left."""
        self._sql("set time zone 'UTC'")
        # Timestamps here have no zone.
        self._sql("set spark.sql.timestampType = TIMESTAMP_NTZ")
        ((version,),) = self._sql("select version()").collect()
        major = version.split(" ")[0]
        self.hash_by = f"spark {'.'.join(major.split('.')[:2])}"
        source = self._sql("set spark.sql.sources.default").collect()[0][1]
        self._rows_change = str(source).lower() in _ROW_FORMATS
        if not self._light:
            self._mend()
            self.drop_forgotten()

    def _mend(self) -> None:
        """Finish a replacement that was cut short."""
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
        """Drop the scratch tables of sessions that ended days ago without dropping them."""
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
        """Put the rows of a query, which may read it, in the place of a table's. Cut short before the drop,
        the old table is there; after it, the new one, which `_mend` finds."""
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
        """What a statement gives; done again where another process has meanwhile put new files in the place
        of those that this session knows."""
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
        """The tables that a statement's query reads, those below its views too, as Spark's own plan names
        them: refreshing a view leaves them as they were."""
        query = sql.expression if isinstance(sql, exp.Create) else sql
        plan = "\n".join(row[0] for row in self._sql(f"explain extended {self.rendered(query)}").collect())
        return {f"`{schema}`.`{name}`" for schema, name in _RELATION.findall(plan)}

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        from pyspark.sql.pandas.types import to_arrow_schema

        frame = self._sql(self.rendered(sql))
        with self.told():
            schema = to_arrow_schema(frame.schema)
            # One partition at a time, where an Arrow table would be all of it.
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
        # It passes over a null, so that a value is hashed with whether it is one.
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
            # Elsewhere it would be the end of all sessions of the process.
            self.connection.stop()


def _json(value: exp.Expr, *, nested: bool = False) -> exp.Expr:
    """A value as JSON text: what is between the brackets of an array of it; `nested` times as ISO 8601."""
    listed = call("to_json", call("array", value), *([_options()] if nested else []))
    return call("substr", listed, 2, exp.Sub(this=call("length", listed.copy()), expression=exp.convert(2)))


def _options() -> exp.Expr:
    return call("map", "timestampFormat", _ISO, "timestampNTZFormat", _ISO)


def _json_decimal(value: exp.Expr, digits: int, scale: int) -> exp.Expr:
    """A number where readers of JSON hold it exactly, else its text; the same whatever the type's scale."""
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
    """What Spark takes: it knows no column of nothing but nulls."""
    fields = [
        pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field for field in data.schema
    ]
    return data.cast(pa.schema(fields))
