"""Redshift, with Amazon's connector, opened by dbt: PostgreSQL's ADBC driver no longer supports Redshift.

Redshift's MERGE has no conditions or deletes, so a MERGE becomes a scratch table, a DELETE and an INSERT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.warehouse.base import Opening
from revetl.warehouse.dbt_connection import opened_by_dbt
from revetl.warehouse.engine import call, found_in, replaced, schema_named, without
from revetl.warehouse.json_concat import JsonConcat, text_of
from revetl.warehouse.rewrite import in_parts, told_apart
from revetl.warehouse.templates import statement, table

_SCHEMA = "public"
_MERGED = table("revetl_merged")
_CATALOG = """
select current_database(), n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_catalog.pg_attribute as a
inner join pg_catalog.pg_class as c on c.oid = a.attrelid
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where a.attnum > 0 and not a.attisdropped and ({places})
order by n.nspname, c.relname, a.attnum
"""

_TYPES = {
    16: "boolean", 20: "bigint", 21: "smallint", 23: "integer", 700: "real", 701: "double precision",
    1082: "date", 1114: "timestamp without time zone", 1184: "timestamp with time zone", 1700: "decimal",
    4000: "super",
}  # fmt: skip
"""Type names by the type code of a result's columns."""


def open_engine(target: Target, opening: Opening) -> Redshift:
    """Open the database of a dbt-redshift target; see `open_warehouse`."""
    database = str(target.config.get("dbname", target.config.get("database")))
    connection = opened_by_dbt(target, "Redshift")
    connection.autocommit = True
    return Redshift(connection, target, database)


class Redshift(JsonConcat):
    """`revetl.warehouse.Warehouse` with a Redshift connection."""

    dialect = "redshift"
    title = "Redshift"
    hash_by = "redshift"
    _in_transaction = False

    def __init__(self, connection: Any, target: Target, database: str) -> None:
        super().__init__(connection, target, database)
        self._columns: dict[exp.Table, list[str]] = {}

    def sentence(self, error: Exception) -> str:
        # The server's error is a dictionary.
        parts = error.args[0] if error.args else ""
        text = str(parts.get("M", parts) if isinstance(parts, dict) else error)
        return without(self._secrets, " ".join(text.split()))

    def run(self, sql: exp.Expr) -> None:
        if not isinstance(sql, exp.Merge):
            super().run(sql)
            return
        rows, gone, again = in_parts(sql, self._columns_of(sql.this), _MERGED)
        self.temporary(_MERGED, rows)
        with self.transaction():
            super().run(gone)
            super().run(again)

    def _columns_of(self, relation: exp.Expr) -> list[str]:
        name = table(relation.name, relation.text("db") or None, relation.text("catalog") or None)
        if name not in self._columns:
            self._columns[name] = list(self.columns(name))
        return self._columns[name]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction; a nested one joins the outer."""
        if self._in_transaction:
            yield
            return
        self._in_transaction = True
        try:
            with super().transaction():
                yield
        finally:
            self._in_transaction = False

    def lock(self, name: exp.Table) -> None:
        self.execute(self.commented(f"lock table {self.adapted(name).sql(self.dialect)}")).close()

    def type_of(self, name: str) -> exp.DataType:
        words = {"json": "super", "varchar": "text"}
        return exp.DataType.build(words.get(name, name), dialect="redshift")

    def document(self, text: exp.Expr) -> exp.Expr:
        return call("json_parse", text)

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return replaced(sql, _adapt)

    def create_schema(self, name: str) -> None:
        # information_schema only lists the user's own schemas.
        there = statement("select 1 from pg_catalog.pg_namespace as n where n.nspname = :name", name=name)
        if not self.rows(there):
            self.run(statement("create schema if not exists :schema", schema=table(name)))

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        pairs = sorted({(relation.db or _SCHEMA, relation.name) for relation in relations})
        tests = [
            f"n.nspname = {self.literal(schema)} and c.relname = {self.literal(name)}"
            for schema, name in pairs
        ]
        places = " or ".join(f"({test})" for test in tests)
        cursor = self.execute(self.commented(_CATALOG.format(places=places)))
        with self.told():
            rows = [(*place, _kind(kind)) for *place, kind in cursor.fetchall()]
            cursor.close()
        return found_in(rows, relations, self.database, _SCHEMA)

    def types_of(self, query: exp.Query) -> dict[str, str]:
        nothing = exp.select("*").from_(query.subquery("revetl_typed")).where("1 = 0")
        cursor = self.execute(self.rendered(nothing))
        found = {str(name): _TYPES.get(oid, "character varying") for name, oid, *_ in cursor.description}
        cursor.close()
        return found

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # Hash the values' hashes, with separators and a text for null, so that different rows have different
        # texts.
        parts: list[exp.Expr] = []
        for value, kind in values:
            hashed = text_of(call("farmfingerprint64", _text(value, kind)))
            parts += [exp.func("coalesce", hashed, exp.convert("-")), exp.convert(",")]
        return call("farmfingerprint64", self.joined(parts[:-1]))

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        return call("mod", call("strtol", call("substring", exp.MD5(this=text), 1, 8), 16), buckets)

    def moment(self, value: exp.Expr, kind: str) -> exp.Expr:
        if "with time zone" in kind or kind == "timestamptz":
            value = exp.AtTimeZone(this=value, zone=exp.convert("UTC"))
        return call("to_char", value, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')

    def json_float(self, value: exp.Expr) -> exp.Expr:
        return self.json_other(exp.cast(value, "double"), "super")

    def json_other(self, value: exp.Expr, kind: str) -> exp.Expr:
        if kind != "super":
            value = exp.cast(text_of(value), exp.DataType.build("super", dialect="redshift"))
        return call("json_serialize", value)

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        # Redshift may return an empty text for missing members and nulls.
        return call("nullif", call("json_extract_path_text", document, name, exp.true()), "")


def _text(value: exp.Expr, kind: str) -> exp.Expr:
    if kind.lower() in ("boolean", "bool"):
        # Redshift can't cast booleans to text.
        words = [(value, "1"), (exp.not_(exp.paren(value.copy())), "0")]
        return exp.Case(ifs=[exp.If(this=test, true=exp.convert(word)) for test, word in words])
    return call("json_serialize", value) if kind.lower() == "super" else text_of(value)


def _kind(name: str) -> str:
    return name.replace("numeric", "decimal")


def _adapt(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.VARCHAR and not node.expressions:
        # Without a length, varchar has 256 bytes.
        return exp.DataType.build("text")
    if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
        return told_apart(node)
    if isinstance(node, exp.RegexpReplace):
        # Redshift replaces every match, and this argument would be the start position.
        node.set("modifiers", None)
    if (schema := schema_named(node)) is not None:
        # A schema can't be qualified with its database.
        schema.set("db", None)
    return node
