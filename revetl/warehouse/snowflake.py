"""Snowflake, with its connector: reads Arrow, loads Parquet.

Plain lowercase names are converted to upper case in Snowflake, as dbt's are, and back.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.warehouse.base import Opening
from revetl.warehouse.dbt_connection import opened_by_dbt
from revetl.warehouse.engine import TEMPORARY, by_database, call, found_in, portable, replaced, without
from revetl.warehouse.json_concat import JsonConcat
from revetl.warehouse.templates import statement, table

_LOWER = re.compile(r"[a-z_][a-z0-9_$]*")
_UPPER = re.compile(r"[A-Z_][A-Z0-9_$]*")
_ROWS = re.compile(r"Row Values: \[.*", re.DOTALL)
_COLUMNS = """
select c.table_catalog, c.table_schema, c.table_name, c.column_name, c.data_type, c.numeric_precision,
    c.numeric_scale
from :columns as c where :named order by c.ordinal_position
"""
_TYPES = [
    "fixed", "real", "text", "date", "timestamp", "variant", "timestamp_ltz", "timestamp_tz", "timestamp_ntz",
    "object", "array", "binary", "time", "boolean", "geography", "geometry", "vector", "map", "file",
    "interval_year_month", "interval_day_time",
]  # fmt: skip
"""Type names by the type code of a result's columns."""

_NAMES = {"text": "varchar", "fixed": "number", "real": "float"}
"""The connector's and catalog's names of types that differ from SQL's."""


def open_engine(target: Target, opening: Opening) -> Snowflake:
    """Open the database of a dbt-snowflake target; see `open_warehouse`."""
    warehouse = Snowflake(opened_by_dbt(target, "Snowflake"), target, "")
    warehouse.prepare()
    if warehouse.schema is None and not opening.read_only:
        # Temporary tables are in the session's schema, which dbt may not have created yet.
        warehouse.create_schema(str(target.config["schema"]))
        warehouse.prepare()
    return warehouse


def upper(name: str) -> str:
    """Convert a name to Snowflake's case."""
    return name.upper() if _LOWER.fullmatch(name) else name


def lower(name: str) -> str:
    """Convert a name from Snowflake's case."""
    return name.lower() if _UPPER.fullmatch(name) else name


class Snowflake(JsonConcat):
    """`revetl.warehouse.Warehouse` with a Snowflake connection."""

    # Parse unquoted names as lower case.
    dialect = "snowflake, normalization_strategy=lowercase"
    title = "Snowflake"
    schema: str | None = None
    nonfinite = {"NaN": "nan", "inf": "inf", "-inf": "-inf"}  # noqa: RUF012  as in Spelled

    def prepare(self) -> None:
        """Read the session's database, schema and version."""
        cursor = self.execute("select current_database(), current_schema(), current_version()")
        with self.told():
            ((database, schema, version),) = cursor.fetchall()
            cursor.close()
        self.database = lower(str(database or self._target.config.get("database")))
        self.schema = None if schema is None else lower(str(schema))
        # Snowflake doesn't guarantee stable hashes.
        self.hash_by = f"snowflake {str(version).split('.')[0]}"

    def sentence(self, error: Exception) -> str:
        text = str(getattr(error, "raw_msg", None) or error)
        return without(self._secrets, " ".join(_ROWS.sub("", text).split()))

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return replaced(sql, _adapt)

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        cursor = self.execute(self.rendered(sql))
        with self.told():
            found = iter(cursor.fetch_arrow_batches())
        while True:
            with self.told():
                part: pa.Table | None = next(found, None)
            if part is None:
                break
            yield from _plain(part).to_batches(max_chunksize=batch_rows)
        cursor.close()

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        properties = TEMPORARY.copy()
        self.run(exp.Create(this=made, kind="TABLE", replace=True, expression=query, properties=properties))
        self._made.add(made.name)

    def load(self, made: exp.Table, data: pa.Table) -> None:
        self.define(made, {field.name: self.type_of(portable(field.type)) for field in data.schema})
        name = self.adapted(made).sql(self.dialect)
        stage = f"@%{upper(made.name)}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.parquet"
            pq.write_table(data, file)
            self.execute(
                f"PUT 'file://{file.as_posix()}' {stage} AUTO_COMPRESS = FALSE OVERWRITE = TRUE"
            ).close()
        self.execute(
            self.commented(
                f"COPY INTO {name} FROM {stage} FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) "
                "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
            )
        ).close()

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build({"json": "variant", "timestamp": "timestampntz"}.get(name, name))

    def document(self, text: exp.Expr) -> exp.Expr:
        return call("parse_json", text)

    def create_schema(self, name: str) -> None:
        super().create_schema(upper(name))
        if self.schema is not None:
            # Creating a schema makes it the session's current one; switch back.
            self.execute(f"use schema {self.adapted(table(self.schema)).sql(self.dialect)}").close()

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        schema = self.schema or ""
        rows: list[tuple[Any, ...]] = []
        for database, named in by_database(relations, self.database, schema, upper).items():
            columns = table("columns", "information_schema", database)
            rows += self.rows(statement(_COLUMNS, columns=columns, named=named))
        listed = [
            (*map(str, place), lower(column), _kind(kind, digits, scale))
            for *place, column, kind, digits, scale in rows
        ]
        return found_in(listed, relations, self.database, schema)  # type: ignore[arg-type]

    def types_of(self, query: exp.Query) -> dict[str, str]:
        with self.told():
            cursor = self.connection.cursor()
            described = cursor.describe(self.rendered(query))
            cursor.close()
        return {
            lower(each.name): _kind(_TYPES[each.type_code], each.precision, each.scale) for each in described
        }

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        return call("hash", *(value for value, _ in values))

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        number = call("bitshiftright", call("md5_number_upper64", text), 32)
        return call("mod", number, buckets)

    def moment(self, value: exp.Expr, kind: str) -> exp.Expr:
        if "tz" in kind and "ntz" not in kind:
            value = call("convert_timezone", "UTC", value)
        return call("to_char", value, 'YYYY-MM-DD"T"HH24:MI:SS.FF6"Z"')

    def json_float(self, value: exp.Expr) -> exp.Expr:
        return self.json_other(value, "float")

    def json_other(self, value: exp.Expr, kind: str) -> exp.Expr:
        return call("to_json", call("to_variant", value))

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        # Casting a JSON null returns null.
        member = exp.Bracket(this=call("parse_json", document), expressions=[exp.convert(name)])
        return exp.cast(member, "varchar")


def _adapt(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Identifier) and not isinstance(node.parent, exp.PropertyEQ):
        # Quote all names, in Snowflake's case, because some are reserved words.
        name = upper(node.name) if node.args.get("quoted") else node.name.upper()
        return exp.to_identifier(name, quoted=True)
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.TIMESTAMP:
        return exp.DataType.build("timestampntz")
    if isinstance(node, exp.TimeStrToTime):
        return exp.cast(node.this, "timestampntz")
    if isinstance(node, exp.RegexpReplace):
        # Snowflake replaces every match, and this argument would be the start position.
        node.set("modifiers", None)
    return node


def _kind(name: str, digits: int | None, scale: int | None) -> str:
    kind = _NAMES.get(name.lower(), name.lower())
    if kind != "number" or not digits:
        return kind
    # Integers are numbers with scale 0; keep them distinct from decimals, which are compared differently.
    return f"decimal({digits},{scale})" if scale else f"number({digits},0)"


def _plain(found: pa.Table) -> pa.Table:
    """Normalize the names and types of a part of a result. Snowflake sizes integers by the largest value of
    the part."""
    columns: list[Any] = []
    for column in found.columns:
        made: Any = column
        if pa.types.is_integer(column.type):
            made = made.cast(pa.int64())
        elif pa.types.is_timestamp(column.type):
            made = made.cast(pa.timestamp("us"))
        columns.append(made)
    return pa.Table.from_arrays(columns, names=[lower(name) for name in found.column_names])
