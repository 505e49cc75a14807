"""PostgreSQL, 15 or later (for MERGE), by ADBC: Arrow both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import WarehouseError
from revetl.warehouse.base import NONFINITE, Opening
from revetl.warehouse.engine import Engine, call, found_in, secrets_of, without

# What a 64-bit float holds of a decimal, and so what readers of JSON do.
_EXACT_DIGITS = 15
_NUMERIC = re.compile(r"(?:numeric|decimal)(?:\((\d+)(?:,\s*-?\d+)?\))?$", re.IGNORECASE)
_PASSED_ON = (
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "connect_timeout",
    "keepalives_idle",
    "application_name",
)
"""What of a dbt target libpq takes under the same name."""

_OLDEST = 15
_SCHEMA = "public"
_CATALOG = """
select current_database(), n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_catalog.pg_attribute as a
inner join pg_catalog.pg_class as c on c.oid = a.attrelid
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where a.attnum > 0 and not a.attisdropped and (n.nspname, c.relname) in ({places})
order by n.nspname, c.relname, a.attnum
"""


def open_engine(target: Target, opening: Opening) -> Postgres:
    """The database of a dbt-postgres target; see `open_warehouse`."""
    config = target.config
    user, host, port = config.get("user"), config.get("host", "localhost"), config.get("port", 5432)
    named = {
        "host": host,
        "port": port,
        "user": user,
        "password": config.get("password", config.get("pass")),
        "dbname": database_name(target),
        **{name: config.get(name) for name in _PASSED_ON},
    }
    named.setdefault("application_name", "revetl")
    words = " ".join(f"{name}={_quoted(str(value))}" for name, value in named.items() if value is not None)
    try:
        connection = adbc.connect(words, autocommit=True)
    except adbc.Error as error:
        why = without(secrets_of(target), _sentence(str(error)))
        raise WarehouseError(f"PostgreSQL at {host}:{port} cannot be opened as {user}: {why}") from None
    warehouse = Postgres(connection, target, database_name(target))
    warehouse.prepare()
    return warehouse


def database_name(target: Target) -> str:
    """The database of a target: dbt takes it by either name."""
    return str(target.config.get("dbname", target.config.get("database")))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _sentence(text: str) -> str:
    """The server's sentence of an error, or libpq's, without the statement that it quotes."""
    found = re.search(r"(?:ERROR|FATAL|PANIC):\s*(.+)", text)
    if found is not None:
        return found[1].strip()
    text = re.sub(r"^[A-Z_]+: (?:\[libpq\] )?", "", text.strip())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("Failed to connect: ") if lines else text


class Postgres(Engine):
    """`revetl.warehouse.Warehouse` on an ADBC connection to PostgreSQL."""

    dialect = "postgres"
    title = "PostgreSQL"
    errors: ClassVar[tuple[type[Exception], ...]] = (adbc.Error, pa.ArrowException)

    def prepare(self) -> None:
        """Set up the session. Raises WarehouseError for a server that is too old."""
        for role in filter(None, [self._target.config.get("role")]):
            self.execute(f"set role {exp.to_identifier(role, quoted=True).sql(self.dialect)}").close()
        # A temporary table is this session's own, and small ones are not worth their statistics.
        self.execute("set timezone = 'UTC'").close()
        cursor = self.execute("select current_setting('server_version_num')::int / 10000")
        ((major,),) = cursor.fetchall()
        cursor.close()
        if major < _OLDEST:
            raise WarehouseError(
                f"PostgreSQL {major} has no MERGE, which syncs are booked by. Use {_OLDEST} or later."
            )
        # An engine's hashes may change with its major version.
        self.hash_by = f"postgres {major}"

    def sentence(self, error: Exception) -> str:
        return without(self._secrets, _sentence(str(error)))

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        cursor = self.execute(self.rendered(sql))
        with self.told():
            kinds = [column[1] for column in cursor.description or ()]
            numeric = [at for at, kind in enumerate(kinds) if isinstance(kind, pa.OpaqueType)]
            found = [tuple(row) for row in cursor.fetchall()]
            cursor.close()
        if not numeric:
            return found
        return [
            tuple(_number(value) if at in numeric else value for at, value in enumerate(row)) for row in found
        ]

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        cursor = self.execute(self.rendered(sql))
        with self.told():
            reader = cursor.fetch_record_batch()
        while True:
            try:
                with self.told():
                    batch = reader.read_next_batch()
            except StopIteration:
                break
            plain = _plain(batch)
            for start in range(0, plain.num_rows, batch_rows):
                yield plain.slice(start, batch_rows)
        cursor.close()

    def load(self, made: exp.Table, data: pa.Table) -> None:
        with self.told():
            cursor = self.connection.cursor()
            cursor.adbc_ingest(made.name, data, mode="replace", temporary=True)
            cursor.close()

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build({"json": "jsonb"}.get(name, name))

    def document(self, text: exp.Expr) -> exp.Expr:
        # No text of PostgreSQL can hold the character null: the replacement character stands for it.
        return super().document(call("replace", text, "\\u0000", "\\ufffd"))

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return sql.transform(_adapt) if sql.find(exp.SHA2, exp.JSONExtract, exp.JSONExtractScalar) else sql

    def lock(self, name: exp.Table) -> None:
        self.execute(f"lock table {name.sql(self.dialect)} in share row exclusive mode").close()

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        pairs = {(relation.db or _SCHEMA, relation.name) for relation in relations}
        places = ", ".join(
            f"({exp.convert(schema).sql(self.dialect)}, {exp.convert(name).sql(self.dialect)})"
            for schema, name in sorted(pairs)
        )
        cursor = self.execute(_CATALOG.format(places=places))
        with self.told():
            rows = cursor.fetchall()
            cursor.close()
        return found_in(rows, relations, self.database, _SCHEMA)

    def types_of(self, query: exp.Query) -> dict[str, str]:
        with self.told():
            cursor = self.connection.cursor()
            schema = cursor.adbc_execute_schema(self.rendered(query))
            cursor.close()
        return {field.name: _type_name(field.type) for field in schema}

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # Documents have no hash of their own, and a literal no type.
        hashable = [
            exp.cast(value, "text") if "json" in kind.lower() or _is_untyped(value) else value
            for value, kind in values
        ]
        return call("hash_record_extended", call("row", *hashable), 0)

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        digits = exp.DPipe(
            this=exp.convert("x"),
            expression=call("substr", exp.MD5(this=text), 1, 8),
            safe=True,
        )
        bits = exp.cast(exp.paren(digits), exp.DataType.build("bit(32)", dialect="postgres"))
        return exp.paren(exp.Mod(this=exp.cast(bits, "bigint"), expression=exp.convert(buckets)))

    def json_value(self, value: exp.Expr, kind: str) -> exp.Expr:
        kind = kind.lower()
        if kind.endswith("[]") or kind.startswith("list<"):
            made = _json_list(value, kind)
        elif found := _NUMERIC.match(kind):
            made = _marked(value, _NUMBERS, _json_number(value, int(found[1]) if found[1] else None))
        elif kind in {"double precision", "double", "real", "float8", "float4"}:
            made = _marked(value, _NUMBERS, _json(value.copy()))
        elif kind.startswith("timestamp"):
            moment = value
            if "with time zone" in kind or kind == "timestamptz":
                moment = exp.AtTimeZone(this=value, zone=exp.convert("UTC"))
            made = _json(call("to_char", moment, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
            made = _marked(value, _MOMENTS, made)
        elif kind in {"date", "date32[day]"}:
            made = _marked(value, _MOMENTS, _json(value.copy()))
        else:
            made = _json(exp.cast(value, "text") if _is_untyped(value) else value)
        return exp.func("coalesce", made, exp.convert("null"))

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        return call("json_extract_path_text", exp.cast(document, "json"), name)

    def close(self) -> None:
        with suppress(adbc.Error):
            self.connection.close()


def _adapt(node: exp.Expr) -> exp.Expr:
    """SHA-256 is of bytes, and members are of documents."""
    if isinstance(node, exp.JSONExtract | exp.JSONExtractScalar):
        # One that is text, or JSONB, is cast to what the functions are for.
        node.set("this", exp.cast(node.this, "json"))
    if isinstance(node, exp.SHA2):
        hashed = call("sha256", call("convert_to", node.this, "UTF8"))
        return call("encode", hashed, "hex")
    return node


def _is_untyped(value: exp.Expr) -> bool:
    """Whether the engine does not say what type a value is of."""
    return isinstance(value, exp.Null) or (isinstance(value, exp.Literal) and value.is_string)


def _json(value: exp.Expr) -> exp.Expr:
    return exp.cast(call("to_json", value), "text")


def _json_number(value: exp.Expr, digits: int | None) -> exp.Expr:
    """A number where a float holds it exactly, else its text."""
    number = _json(call("trim_scale", value.copy()))
    if digits is not None and digits <= _EXACT_DIGITS:
        return number
    back = exp.cast(exp.cast(value.copy(), exp.DataType.build("double")), "numeric")
    exact = exp.EQ(this=back, expression=value.copy())
    text = exp.cast(call("trim_scale", value.copy()), "text")
    return exp.Case(ifs=[exp.If(this=exact, true=number)], default=_json(text))


_NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_MOMENTS = {"infinity": "infinity", "-infinity": "-infinity"}
"""What JSON has no word for: PostgreSQL's words, and ours."""


def _marked(value: exp.Expr, words: Mapping[str, str], made: exp.Expr) -> exp.Expr:
    """What is made of a value, but for one of the words, which has a mark."""
    ifs = [exp.If(this=exp.convert(said), true=exp.convert(_mark(word))) for said, word in words.items()]
    return exp.Case(this=exp.cast(value.copy(), "text"), ifs=ifs, default=made)


def _mark(word: str) -> str:
    return f'{{"{NONFINITE}":"{word}"}}'


def _json_list(value: exp.Expr, kind: str) -> exp.Expr:
    """An array with its items as they would be alone. Of one of moments or numbers, every text is an item."""
    made = _json(value)
    is_moment, is_date = "timestamp" in kind, kind.startswith("date") or "date32" in kind
    if is_moment:
        # As to_json writes them: fractions as they are, and of what has a zone the session's, which is UTC.
        made = call("replace", made, '+00:00"', '"')
        for pattern, by in (
            (r'(:\d\d)"', r'\1.0"'),
            (r'\.(\d+)"', r'.\1000000"'),
            (r'\.(\d{6})\d*"', r'.\1Z"'),
        ):
            made = call("regexp_replace", made, pattern, by, "g")
    if is_moment or is_date:
        words = _MOMENTS
    elif re.match(r"(list<item: )?(double|real|float|numeric|decimal)", kind):
        words = _NUMBERS
    else:
        return made
    for said, word in words.items():
        made = call("replace", made, f'"{said}"', _mark(word))
    return made


def _number(value: object) -> object:
    """A numeric, which ADBC gives as text."""
    if not isinstance(value, str):
        return value
    return Decimal(value) if "." in value or not value.lstrip("-").isdigit() else int(value)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch without extension types: a numeric is a decimal of the digits there are, a document is text."""
    if not any(isinstance(field.type, pa.BaseExtensionType) for field in batch.schema):
        return batch
    columns: list[Any] = []
    for column in batch.columns:
        made: Any = column
        if isinstance(column.type, pa.OpaqueType):
            made = pa.array([None if each is None else Decimal(each) for each in made.storage.to_pylist()])
        elif isinstance(column.type, pa.BaseExtensionType):
            made = made.storage
        columns.append(made)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _type_name(kind: pa.DataType) -> str:
    """PostgreSQL's name of a type, from what ADBC makes of it."""
    if isinstance(kind, pa.OpaqueType):
        return str(kind.type_name)
    if pa.types.is_timestamp(kind):
        return "timestamp with time zone" if kind.tz else "timestamp without time zone"
    names = {
        pa.float64(): "double precision",
        pa.float32(): "real",
        pa.bool_(): "boolean",
        pa.int64(): "bigint",
    }
    return names.get(kind, "json" if isinstance(kind, pa.BaseExtensionType) else str(kind))
