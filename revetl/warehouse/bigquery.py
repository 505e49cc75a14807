"""BigQuery: reads Arrow, loads Parquet.

It has no transactions or temporary tables without a session. Scratch tables are in the state's dataset and
expire after a day, unless they are dropped before. Its timestamps are points in time; they are read as UTC.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import WarehouseError
from revetl.warehouse.base import Opening
from revetl.warehouse.dbt_connection import dbt_credentials, opened_by_dbt, signing_in
from revetl.warehouse.engine import call, is_scratch, replaced, without
from revetl.warehouse.json_concat import JsonConcat, kind_of
from revetl.warehouse.templates import statement, table

_EXPIRES = "expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)"
_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
"""The API's names of types that differ from SQL's."""

_MISSING = 404
_NUMERIC_DIGITS = 29
"""The digits before the point of NUMERIC; wider decimals are BIGNUMERIC."""

_LONGEST_LABEL = 63


def open_engine(target: Target, opening: Opening) -> BigQuery:
    """Open the project of a dbt-bigquery target; see `open_warehouse`."""
    from google.cloud import bigquery

    with signing_in(target, "BigQuery"):
        credentials = dbt_credentials(target)
    client = opened_by_dbt(target, "BigQuery")
    return BigQuery(client, target, opening, bigquery, str(credentials.database))


class BigQuery(JsonConcat):
    """`revetl.warehouse.Warehouse` with a BigQuery client; `api` is its module."""

    dialect = "bigquery"
    title = "BigQuery"
    has_transactions = False
    hash_by = "bigquery"
    nonfinite = {"NaN": "nan", "inf": "inf", "-inf": "-inf"}  # noqa: RUF012  as in Spelled

    def __init__(self, client: Any, target: Target, opening: Opening, api: Any, project: str) -> None:
        super().__init__(client, target, project)
        self.schema = str(target.config.get("dataset", target.config.get("schema")))
        self._api = api
        self._state_schema = opening.state_schema
        self._session_id = uuid.uuid4().hex[:12]

    def execute(self, sql: str, **options: Any) -> Any:
        with self.told():
            return self.connection.query(sql, job_config=self._configured(**options)).result()

    def _configured(self, **options: Any) -> Any:
        """Return the job configuration: options of the profile, and labels with the sync and run."""
        config = self._target.config
        for name in ("maximum_bytes_billed", "priority"):
            if config.get(name) is not None:
                options[name] = str(config[name]).upper() if name == "priority" else config[name]
        named = re.findall(r"(\w+)=(\S+)", self.comment or "")
        labels = {f"revetl_{name}": _label(value) for name, value in named}
        return self._api.QueryJobConfig(labels=labels, **options)

    def sentence(self, error: Exception) -> str:
        text = str(getattr(error, "message", None) or error).strip().splitlines()[0]
        return without(self._secrets, text.split("; reason:")[0])

    def run(self, sql: exp.Expr) -> None:
        self.execute(self.rendered(sql))

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        found = self.execute(self.rendered(sql))
        with self.told():
            return [tuple(_plain(value) for value in row.values()) for row in found]

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        found = self.execute(self.rendered(sql))
        with self.told():
            batches = iter(found.to_arrow_iterable())
        while True:
            with self.told():
                batch: pa.RecordBatch | None = next(batches, None)
            if batch is None:
                break
            plain = _without_zone(batch)
            for start in range(0, plain.num_rows, batch_rows):
                yield plain.slice(start, batch_rows)

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        name = self.adapted(made).sql(self.dialect)
        rows = self.adapted(query).sql(self.dialect)
        text = f"CREATE OR REPLACE TABLE {name} OPTIONS ({_EXPIRES}) AS {rows}"
        self._in_dataset(lambda: self.execute(self.commented(text)))
        self._made.add(made.name)

    def load(self, made: exp.Table, data: pa.Table) -> None:
        file = io.BytesIO()
        pq.write_table(_with_zone(data), file)
        name = self.adapted(made)
        options = self._api.LoadJobConfig(
            source_format=self._api.SourceFormat.PARQUET,
            write_disposition=self._api.WriteDisposition.WRITE_TRUNCATE,
        )

        def loaded() -> None:
            file.seek(0)
            with self.told():
                self.connection.load_table_from_file(file, self._place(name), job_config=options).result()

        self._in_dataset(loaded)
        self.execute(self.commented(f"ALTER TABLE {name.sql(self.dialect)} SET OPTIONS ({_EXPIRES})"))
        self._made.add(made.name)

    def _in_dataset(self, make: Callable[[], object]) -> None:
        self.made_in(self._state_schema, make, missing="not found: dataset")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build({"timestamp": "timestamptz"}.get(name, name))

    def document(self, text: exp.Expr) -> exp.Expr:
        return _parsed(text)

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return replaced(sql, self._adapt)

    def _adapt(self, node: exp.Expr) -> exp.Expr:
        if is_scratch(node):
            node.set("this", exp.to_identifier(f"{node.name}__{self._session_id}", quoted=True))
            node.set("db", exp.to_identifier(self._state_schema, quoted=True))
            node.set("catalog", exp.to_identifier(self.database, quoted=True))
        elif isinstance(node, exp.Delete) and not node.args.get("where"):
            return node.where(exp.true())
        elif isinstance(node, exp.Select) and node.args.get("where") and not node.args.get("from_"):
            return node.from_("(select 1 as revetl_one) as revetl_nothing")
        return _adapt(node)

    def _place(self, relation: exp.Expr) -> str:
        assert isinstance(relation, exp.Table)
        return f"{relation.catalog or self.database}.{relation.db or self.schema}.{relation.name}"

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        # The API is free, while queries of the catalog are billed.
        return [self._columns_of(relation) for relation in relations]

    def _columns_of(self, relation: exp.Table) -> dict[str, str] | None:
        found = self._there(self.connection.get_table, self._place(relation))
        return None if found is None else {field.name: _kind(field) for field in found.schema}

    def _there(self, get: Callable[[str], Any], place: str) -> Any:
        """Get an object from the API; None if it doesn't exist."""
        with self.told():
            try:
                return get(place)
            except Exception as error:
                if getattr(error, "code", None) == _MISSING:
                    return None
                raise

    def create_schema(self, name: str) -> None:
        if self._there(self.connection.get_dataset, f"{self.database}.{name}") is None:
            self.run(statement("create schema if not exists :schema", schema=table(name, self.database)))

    def types_of(self, query: exp.Query) -> dict[str, str]:
        with self.told():
            job = self.connection.query(self.rendered(query), job_config=self._configured(dry_run=True))
            return {field.name: _kind(field) for field in job.schema}

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # JSON quotes texts, and distinguishes null from an empty text.
        row = call("struct", *(value for value, _ in values))
        return call("farm_fingerprint", call("to_json_string", row))

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        digits = exp.DPipe(
            this=exp.convert("0x"), expression=call("substr", exp.MD5(this=text), 1, 8), safe=True
        )
        return call("mod", exp.cast(exp.paren(digits), "bigint"), buckets)

    def moment(self, value: exp.Expr, kind: str) -> exp.Expr:
        spelled = "format_datetime" if kind == "datetime" else "format_timestamp"
        return call(spelled, "%Y-%m-%dT%H:%M:%E6SZ", value)

    def json_float(self, value: exp.Expr) -> exp.Expr:
        return call("to_json_string", value)

    def json_other(self, value: exp.Expr, kind: str) -> exp.Expr:
        return call("to_json_string", value)

    def exact(self, scale: int) -> exp.DataType:
        return exp.DataType.build("bignumeric", dialect="bigquery")

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        # json_value returns scalars, json_query objects and arrays.
        path = f'$."{name}"'
        if '"' in name or "\\" in name:
            # A path can't contain such a name.
            member = exp.Bracket(this=_parsed(document), expressions=[exp.convert(name)])
            rest = call("nullif", call("to_json_string", member.copy()), "null")
            return exp.func("coalesce", call("json_value", member), rest)
        rest = call("json_query", document.copy(), path)
        return exp.func("coalesce", call("json_value", document, path), rest)

    def close(self) -> None:
        for name in sorted(self._made):
            with suppress(WarehouseError), self.told():
                self.connection.delete_table(self._place(self.adapted(table(name))), not_found_ok=True)
        self._made.clear()
        self.connection.close()


def _adapt(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.TIMESTAMP:
        return exp.DataType.build("timestamptz")
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.DECIMAL:
        kind = kind_of(node.sql())
        return exp.DataType.build("bigdecimal") if kind.digits - kind.scale > _NUMERIC_DIGITS else node
    if isinstance(node, exp.TimeStrToTime):
        return exp.cast(node.this, "timestamptz")
    if isinstance(node, exp.SHA2):
        return call("to_hex", call("sha256", node.this))
    if isinstance(node, exp.RegexpReplace):
        # BigQuery always replaces every match.
        node.set("modifiers", None)
    return node


def _parsed(text: exp.Expr) -> exp.Expr:
    """Parse JSON text, rounding numbers that a float can't represent, which are errors otherwise."""
    rounded = exp.Kwarg(this=exp.var("wide_number_mode"), expression=exp.convert("round"))
    return call("parse_json", text, rounded)


def _kind(field: Any) -> str:
    name = _NAMES.get(field.field_type, str(field.field_type))
    if name in ("NUMERIC", "BIGNUMERIC"):
        digits, scale = (38, 9) if name == "NUMERIC" else (76, 38)
        name = f"DECIMAL({field.precision or digits},{field.scale if field.precision else scale})"
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def _plain(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _without_zone(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: list[Any] = [
        column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _with_zone(data: pa.Table) -> pa.Table:
    """Convert timestamps and columns of only nulls to types that BigQuery can load."""
    kinds = {field.name: field.type for field in data.schema}
    for name, kind in kinds.items():
        if pa.types.is_timestamp(kind):
            kinds[name] = pa.timestamp("us", tz="UTC")
        elif pa.types.is_null(kind):
            kinds[name] = pa.string()
    return data.cast(pa.schema(kinds))


def _label(value: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:_LONGEST_LABEL]
