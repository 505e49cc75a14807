"""PostgreSQL 15 or later (for MERGE), with ADBC: reads and loads Arrow."""

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

# The decimal digits that a 64-bit float, and therefore a JSON reader, preserves.
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
"""Options of a dbt target that are passed to libpq under the same name."""

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
    """Open the database of a dbt-postgres target; see `open_warehouse`."""
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
        raise WarehouseError(f"Could not connect to PostgreSQL at {host}:{port} as {user}: {why}") from None
    warehouse = Postgres(connection, target, database_name(target))
    warehouse.prepare()
    return warehouse


def database_name(target: Target) -> str:
    """Return the database of a target, which dbt accepts under two names."""
    return str(target.config.get("dbname", target.config.get("database")))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _sentence(text: str) -> str:
    """Return the server's or libpq's error message, without the statement that it quotes."""
    found = re.search(r"(?:ERROR|FATAL|PANIC):\s*(.+)", text)
    if found is not None:
        return found[1].strip()
    text = re.sub(r"^[A-Z_]+: (?:\[libpq\] )?", "", text.strip())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("Failed to connect: ") if lines else text


class Postgres(Engine):
    """`revetl.warehouse.Warehouse` with an ADBC connection to PostgreSQL."""

    dialect = "postgres"
    title = "PostgreSQL"
    errors: ClassVar[tuple[type[Exception], ...]] = (adbc.Error, pa.ArrowException)

    def prepare(self) -> None:
        """Set up the session. Raises WarehouseError for an unsupported version."""
        for role in filter(None, [self._target.config.get("role")]):
            self.execute(f"set role {exp.to_identifier(role, quoted=True).sql(self.dialect)}").close()
        self.execute("set timezone = 'UTC'").close()
        cursor = self.execute("select current_setting('server_version_num')::int / 10000")
        ((major,),) = cursor.fetchall()
        cursor.close()
        if major < _OLDEST:
            raise WarehouseError(
                f"PostgreSQL {major} has no MERGE, which revetl requires. Use PostgreSQL {_OLDEST} or later."
            )
        # Hashes may change between major versions.
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
        # PostgreSQL's text can't contain the null character: use the replacement character.
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
        # json has no hash function, and an untyped literal needs a type.
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
    """Adapt SHA-256, which requires bytes, and JSON extraction, which requires json."""
    if isinstance(node, exp.JSONExtract | exp.JSONExtractScalar):
        # Cast text and jsonb to json, which sqlglot's functions require.
        node.set("this", exp.cast(node.this, "json"))
    if isinstance(node, exp.SHA2):
        hashed = call("sha256", call("convert_to", node.this, "UTF8"))
        return call("encode", hashed, "hex")
    return node


def _is_untyped(value: exp.Expr) -> bool:
    """Whether a value is a literal without a type."""
    return isinstance(value, exp.Null) or (isinstance(value, exp.Literal) and value.is_string)


def _json(value: exp.Expr) -> exp.Expr:
    return exp.cast(call("to_json", value), "text")


def _json_number(value: exp.Expr, digits: int | None) -> exp.Expr:
    """Format a number as JSON if a float represents it exactly, else as text."""
    number = _json(call("trim_scale", value.copy()))
    if digits is not None and digits <= _EXACT_DIGITS:
        return number
    back = exp.cast(exp.cast(value.copy(), exp.DataType.build("double")), "numeric")
    exact = exp.EQ(this=back, expression=value.copy())
    text = exp.cast(call("trim_scale", value.copy()), "text")
    return exp.Case(ifs=[exp.If(this=exact, true=number)], default=_json(text))


_NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_MOMENTS = {"infinity": "infinity", "-infinity": "-infinity"}
"""PostgreSQL's texts of values that JSON can't represent, to revetl's."""


def _marked(value: exp.Expr, words: Mapping[str, str], made: exp.Expr) -> exp.Expr:
    """Return `made`, or a marker if the value's text is one of the words."""
    ifs = [exp.If(this=exp.convert(said), true=exp.convert(_mark(word))) for said, word in words.items()]
    return exp.Case(this=exp.cast(value.copy(), "text"), ifs=ifs, default=made)


def _mark(word: str) -> str:
    return f'{{"{NONFINITE}":"{word}"}}'


def _json_list(value: exp.Expr, kind: str) -> exp.Expr:
    """Format an array with its items like single values. In arrays of times or numbers, every text is an
    item."""
    made = _json(value)
    is_moment, is_date = "timestamp" in kind, kind.startswith("date") or "date32" in kind
    if is_moment:
        # to_json omits zero fractions, and uses the session's time zone, UTC, if the type has one.
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
    """Convert a numeric, which ADBC returns as text."""
    if not isinstance(value, str):
        return value
    return Decimal(value) if "." in value or not value.lstrip("-").isdigit() else int(value)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert extension types in a batch: numeric to decimal with the required precision, JSON to text."""
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
    """Return PostgreSQL's name of an ADBC type."""
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
