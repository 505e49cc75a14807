"""DuckDB, the embedded default. Only one process at a time can open a file for writing."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import UsageError, WarehouseError
from revetl.warehouse.base import NONFINITE, Opening, Say
from revetl.warehouse.engine import TEMPORARY, found_in, is_whole
from revetl.warehouse.query_comment import commented
from revetl.warehouse.templates import statement, table

_LOCK_POLL_SECONDS = 0.1
_LIGHT_BYTES = 160_000_000
_COPIES = 4
"""The number of copies of a text that a MERGE keeps in memory."""
# The decimal digits that a 64-bit float, and therefore a JSON reader, preserves.
_EXACT_DIGITS = 15
_NESTED = re.compile(r"\[\d*\]|^(STRUCT|MAP|UNION)\(")
_WORDED = re.compile(r"TIMESTAMP|\bDATE\b|\b(FLOAT|REAL|DOUBLE)\b")
"""Types that DuckDB formats differently than needed in JSON, at any depth."""
_SCALED = re.compile(r"DECIMAL\(\d+,\s*[1-9]\d*\)")
_WIDE = re.compile(r"DECIMAL\(\d+,\s*\d+\)|\bU?HUGEINT\b|\bBIGNUM\b")


def open_engine(target: Target, opening: Opening) -> DuckDB:
    """Open the file of a dbt-duckdb target with its `settings` and `attach`; see `open_warehouse`."""
    path = _path_of(target, opening.root)
    read_only = opening.read_only
    if read_only and not Path(path).exists():
        raise WarehouseError(f"{path}: the database does not exist yet. Run `dbt build` first.")
    settings = {str(key): value for key, value in (target.config.get("settings") or {}).items()}
    connection = _connect(path, read_only, settings, opening.lock_timeout, opening.say)
    connection.execute("set enable_progress_bar = false")
    for attach in target.config.get("attach") or ():
        alias = (
            f" as {exp.to_identifier(attach['alias'], quoted=True).sql('duckdb')}"
            if attach.get("alias")
            else ""
        )
        connection.execute(f"attach if not exists '{attach['path']}'{alias} (read_only)")
    return DuckDB(connection, light=opening.light and "memory_limit" not in settings)


def _path_of(target: Target, root: Path) -> str:
    named = str(target.config.get("path"))
    return named if "://" in named or named.startswith("md:") else str(root / named)


def _connect(
    path: str, read_only: bool, settings: dict[str, Any], lock_timeout: float, say: Say
) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + lock_timeout
    waiting = False
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=settings)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise WarehouseError(f"{path}: DuckDB cannot open the file: {first_line(error)}") from None
            if time.monotonic() >= deadline:
                raise WarehouseError(
                    f"{path}: another process, such as a `dbt build`, has had the database open for "
                    f"{lock_timeout:g} s. Try again later, or wait longer with --lock-timeout."
                ) from None
            if not waiting:
                say(f"{path} is open in another process; waiting up to {lock_timeout:g} s for it")
                waiting = True
            time.sleep(_LOCK_POLL_SECONDS)
        except duckdb.Error as error:
            raise WarehouseError(f"{path}: DuckDB cannot open the file: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """Return the message of an engine's error, without the statement it quotes."""
    return str(error).strip().splitlines()[0]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as error:
        raise WarehouseError(f"DuckDB: {first_line(error)}") from error
    except RuntimeError as error:
        # DuckDB replaces an exception of a signal handler during a query with this.
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from None
        raise


class DuckDB:
    """`revetl.warehouse.Warehouse` with a DuckDB connection."""

    dialect = "duckdb"
    hash_by = f"duckdb {duckdb.__version__}"
    has_transactions = True

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, light: bool = False) -> None:
        self.connection = connection
        self.comment: str | None = None
        self._light = light
        if light:
            connection.execute(f"set memory_limit = '{_LIGHT_BYTES} bytes'")
        self.database = str(connection.execute("select current_database()").fetchall()[0][0])

    def run(self, sql: exp.Expr) -> None:
        with _errors():
            self.connection.execute(self._rendered(sql))

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        with _errors():
            return self.connection.execute(self._rendered(sql)).fetchall()

    def _rendered(self, sql: exp.Expr) -> str:
        text = sql.sql(self.dialect)
        return text if self.comment is None else commented(text, self.comment, self.dialect)

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        with _errors():
            reader = self.connection.sql(self._rendered(sql)).to_arrow_reader(batch_rows)
            yield from reader

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build(name)

    def document(self, text: exp.Expr) -> exp.Expr:
        return exp.cast(text, "json")

    def create_schema(self, name: str) -> None:
        # Qualify the schema, which may have the same name as the database.
        self.run(statement("create schema if not exists :schema", schema=table(name, self.database)))

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        properties = TEMPORARY.copy()
        self.run(exp.Create(this=made, kind="TABLE", replace=True, expression=query, properties=properties))

    def load(self, made: exp.Table, data: pa.Table) -> None:
        self.make_room(data.nbytes)
        with _errors():
            self.connection.register("revetl_arrow", data)
        try:
            self.temporary(made, exp.select("*").from_("revetl_arrow"))
        finally:
            self.connection.unregister("revetl_arrow")

    def make_room(self, size: int) -> None:
        # One record can be larger than all that is folded at a time.
        if self._light and size * _COPIES > _LIGHT_BYTES:
            with _errors():
                self.connection.execute(f"set memory_limit = '{_LIGHT_BYTES + size * _COPIES} bytes'")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with _errors():
            self.connection.begin()
        try:
            yield
        except BaseException:
            with _errors():
                self.connection.rollback()
            raise
        with _errors():
            self.connection.commit()

    def lock(self, name: exp.Table) -> None:
        """Do nothing: no other process has the file open."""

    def columns(self, relation: exp.Table | exp.Query) -> dict[str, str]:
        with _errors():
            found = self.connection.execute(f"describe {relation.sql(self.dialect)}").fetchall()
        return {name: kind for name, kind, *_ in found}

    def exists(self, relation: exp.Table) -> bool:
        return self.catalog([relation])[0] is not None

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        query = (
            "select database_name, schema_name, table_name, column_name, data_type from duckdb_columns() "
            "where lower(table_name) in (select unnest(?)) order by column_index"
        )
        names = sorted({relation.name.lower() for relation in relations})
        with _errors():
            rows = self.connection.execute(query, [names]).fetchall()
        return found_in(rows, relations, self.database, "main")

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # hash() returns 64 unsigned bits; the state's column is a signed bigint on every engine.
        hashed = exp.func("hash", *(value for value, _ in values))
        return exp.cast(exp.BitwiseRightShift(this=hashed, expression=exp.convert(1)), "bigint")

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        digits = exp.func("substr", exp.MD5(this=text), exp.convert(1), exp.convert(8))
        number = exp.cast(exp.func("concat", exp.convert("0x"), digits), "bigint")
        return exp.paren(exp.Mod(this=number, expression=exp.convert(buckets)))

    def json_object(self, items: Mapping[str, tuple[exp.Expr, str]], whole: Collection[str] = ()) -> exp.Expr:
        members: list[exp.Expr] = []
        for name, (value, kind) in items.items():
            made = _json_value(value, kind)
            if name in whole:
                integer = _call("to_json", exp.cast(value.copy(), "bigint"))
                case = exp.If(this=is_whole(value), true=integer)
                made = exp.Case(ifs=[case], default=_call("to_json", made))
            members += [exp.convert(name), made]
        return exp.cast(exp.Anonymous(this="json_object", expressions=members), "varchar")

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        return _call("json_extract_string", document, exp.convert(_pointer(name)))

    def json_differs(self, before: exp.Expr, after: exp.Expr, names: Sequence[str]) -> exp.Expr:
        return exp.NullSafeNEQ(this=_texts(before, names), expression=_texts(after, names))

    def count_differences(self, both: exp.Query, names: Sequence[str]) -> exp.Query | None:
        # Each json_extract_string of a query keeps its parsed documents in memory, so use only two.
        made = statement(
            """
            select cast(json_group_object(list_extract(:names, t.place), t.changed) as varchar)
            from (
                select u.place, count(*) as changed
                from (
                    select unnest(:before) as before, unnest(:after) as after,
                        unnest(range(1, :end)) as place
                    from :both as b
                ) as u
                where u.before is distinct from u.after
                group by u.place
            ) as t
            """,
            "duckdb",
            names=exp.Array(expressions=[exp.convert(name) for name in names]),
            before=_texts(exp.column("known_fields"), names),
            after=_texts(exp.column("fields_now"), names),
            end=len(names) + 1,
            both=both.subquery(),
        )
        assert isinstance(made, exp.Query)
        return made

    def attach(self, target: Target, root: Path) -> str:
        if target.type != "duckdb":
            raise UsageError(
                f"profiles.yml: target '{target.name}' has type '{target.type}', not duckdb. "
                "Choose a target of the same type."
            )
        path = _path_of(target, root)
        if Path(path).resolve() == self._path:
            return self.database
        if not Path(path).exists():
            raise WarehouseError(f"{path}: the database does not exist yet. Run `dbt build` first.")
        attached = exp.to_identifier(f"revetl_{target.name}", quoted=True)
        literal = exp.convert(path).sql(self.dialect)
        with _errors():
            self.connection.execute(
                f"attach if not exists {literal} as {attached.sql(self.dialect)} (read_only)"
            )
        return attached.name

    @property
    def _path(self) -> Path | None:
        query = "select path from duckdb_databases() where database_name = current_database()"
        ((path,),) = self.connection.execute(query).fetchall()
        return None if path is None else Path(path).resolve()

    def close(self) -> None:
        if self._light:
            # Another connection of this process may still use the same database.
            self.connection.execute("reset global memory_limit")
        self.connection.close()


def _texts(document: exp.Expr, names: Sequence[str]) -> exp.Expr:
    """Extract members of JSON text as a list of texts, parsing it only once."""
    pointers = exp.Array(expressions=[exp.convert(_pointer(name)) for name in names])
    return _call("json_extract_string", document, pointers)


def _pointer(name: str) -> str:
    """Return a JSON pointer (RFC 6901), because a JSON path can't quote every name."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _json_value(value: exp.Expr, kind: str) -> exp.Expr:
    if _NESTED.search(kind):
        if _WORDED.search(kind):
            return _nested(value, _type(kind))
        # Nested numbers that JSON readers would round also become text.
        worded = _WIDE.sub(lambda found: "VARCHAR" if _digits(found[0]) > _EXACT_DIGITS else found[0], kind)
        return value if worded == kind else exp.cast(value, _type(worded))
    kind = kind.upper()
    if kind.startswith("TIMESTAMP"):
        moment = value
        if "TIME ZONE" in kind or kind == "TIMESTAMPTZ":
            moment = exp.AtTimeZone(this=value, zone=exp.convert("UTC"))
        return _finite(value, _call("strftime", moment, exp.convert("%Y-%m-%dT%H:%M:%S.%fZ")))
    if kind == "DATE":
        return _finite(value, value.copy())
    if kind in {"FLOAT", "REAL"}:
        # Through its shortest text: 0.1 in 32 bits is a different number in 64.
        return _finite(value, exp.cast(exp.cast(value.copy(), "varchar"), "double"))
    if kind == "DOUBLE":
        return _finite(value, value.copy())
    if kind in {"HUGEINT", "UHUGEINT", "BIGNUM"}:
        return _number_or_text(value, "bigint", kind)
    if _digits(kind) > _EXACT_DIGITS:
        # Sums have this type, even with few digits.
        return _number_or_text(value, "double", kind)
    return value


def _finite(value: exp.Expr, made: exp.Expr) -> exp.Expr:
    """Return `made` as JSON for a finite value; a marker for NaN and infinity, which JSON can't represent."""
    finite = exp.or_(exp.Is(this=value.copy(), expression=exp.null()), _call("isfinite", value.copy()))
    marked = _call("json_object", exp.convert(NONFINITE), exp.cast(value.copy(), "varchar"))
    return exp.Case(ifs=[exp.If(this=finite, true=_call("to_json", made))], default=marked)


def _nested(value: exp.Expr, kind: exp.DataType, depth: int = 0) -> exp.Expr:
    """Convert the elements of a list, struct, map or union like top-level values. Returns the value itself if
    nothing changes."""
    parts = kind.expressions
    if kind.is_type("array", "list") and parts:
        return _each(value, parts[0], depth)
    if kind.is_type("map") and len(parts) == 2:
        keys, values = (_call(f"map_{which}", value.copy()) for which in ("keys", "values"))
        made = [_each(listed, part, depth) for listed, part in zip((keys, values), parts, strict=True)]
        if made[0] != keys:
            # A key is text, not JSON.
            text = _call("json_extract_string", exp.column("key_"), exp.convert("$"))
            key = exp.Lambda(this=text, expressions=[exp.to_identifier("key_")], colon=True)
            made[0] = _call("list_transform", made[0], key)
        return value if made == [keys, values] else _call("map", *made)
    if kind.is_type("struct", "union") and all(isinstance(part, exp.ColumnDef) for part in parts):
        tagged = kind.is_type("union")
        got = {
            part.name: _call("union_extract" if tagged else "struct_extract", value, exp.convert(part.name))
            for part in parts
        }
        made = [_nested(got[part.name].copy(), part.kind, depth) for part in parts]
        if made == [*got.values()]:
            return value
        if tagged:
            tag = _call("union_tag", value.copy())
            tests = [exp.EQ(this=tag.copy(), expression=exp.convert(name)) for name in got]
            objects = [_object({name: one}) for name, one in zip(got, made, strict=True)]
            pairs = zip(tests, objects, strict=True)
            return exp.Case(ifs=[exp.If(this=test, true=one) for test, one in pairs])
        there = exp.not_(exp.Is(this=value.copy(), expression=exp.null()))
        return exp.Case(ifs=[exp.If(this=there, true=_object(dict(zip(got, made, strict=True))))])
    name = kind.sql("duckdb")
    if _WORDED.search(name):
        return _json_value(value, name)
    return exp.cast(value, "varchar") if _digits(name) > _EXACT_DIGITS else value


def _each(listed: exp.Expr, kind: exp.DataType, depth: int) -> exp.Expr:
    item = exp.to_identifier(f"item_{depth}")
    made = _nested(exp.column(item.copy()), kind, depth + 1)
    if made == exp.column(item):
        return listed
    return _call("list_transform", listed, exp.Lambda(this=made, expressions=[item], colon=True))


def _object(members: Mapping[str, exp.Expr]) -> exp.Expr:
    return _call("json_object", *(part for name, one in members.items() for part in (exp.convert(name), one)))


def _number_or_text(value: exp.Expr, number: str, kind: str) -> exp.Expr:
    """Convert to a narrower number if that is exact, else to text."""
    narrow = exp.TryCast(this=value.copy(), to=_type(number))
    back = exp.cast(narrow.copy(), "varchar") if kind == "BIGNUM" else _try_cast(narrow.copy(), kind)
    same = exp.cast(value.copy(), "varchar") if kind == "BIGNUM" else value.copy()
    exact = exp.EQ(this=back, expression=same)
    text: exp.Expr = exp.cast(value.copy(), "varchar")
    if _SCALED.match(kind):
        # Remove trailing zeros due to the scale.
        text = _call("rtrim", _call("rtrim", text, exp.convert("0")), exp.convert("."))
    return exp.Case(ifs=[exp.If(this=exact, true=_call("to_json", narrow))], default=_call("to_json", text))


def _try_cast(value: exp.Expr, kind: str) -> exp.Expr:
    return exp.TryCast(this=value, to=_type(kind))


@cache
def _parsed_type(kind: str) -> exp.DataType:
    return exp.DataType.build(kind, dialect="duckdb")


def _type(kind: str) -> exp.DataType:
    """Return a type by DuckDB's name. Cached, because parsing one is as slow as the rest of a column."""
    return _parsed_type(kind).copy()


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _digits(kind: str) -> int:
    """Return the precision of a decimal or very large integer type; 0 for others."""
    found = re.match(r"DECIMAL\((\d+)", kind)
    return int(found[1]) if found else 39 * kind.endswith(("HUGEINT", "BIGNUM", "INT128"))
