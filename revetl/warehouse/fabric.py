"""Fabric's warehouse and Synapse's dedicated pool: T-SQL, with the driver of the dbt adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.warehouse.base import Opening
from revetl.warehouse.dbt_connection import opened_by_dbt
from revetl.warehouse.engine import by_database, call, defined, found_in, is_scratch, replaced, schema_named
from revetl.warehouse.json_concat import JsonConcat, if_pointed, kind_of
from revetl.warehouse.rewrite import in_parts, told_apart
from revetl.warehouse.templates import statement, table
from revetl.warehouse.tsql_booleans import conditioned

_MERGED = table("revetl_merged")
_COLUMNS = """
select c.table_catalog, c.table_schema, c.table_name, c.column_name, c.data_type, c.numeric_precision,
    c.numeric_scale
from :columns as c where :named order by c.ordinal_position
"""
_TABLES = "select t.table_type, t.table_name from :tables as t where t.table_schema = :schema"
_TYPES: dict[object, str] = {int: "bigint", bool: "bit", float: "float", datetime: "datetime2", date: "date"}


def open_engine(target: Target, opening: Opening) -> Fabric:
    """Open the database of a dbt-fabric or dbt-synapse target; see `open_warehouse`."""
    kind = Synapse if target.type == "synapse" else Fabric
    connection = opened_by_dbt(target, kind.title)
    connection.autocommit = True
    return kind(connection, target, str(target.config.get("database")))


class Fabric(JsonConcat):
    """`revetl.warehouse.Warehouse` with a Fabric connection."""

    dialect = "fabric"
    title = "Fabric"
    hash_by = "fabric"
    nonfinite = {}  # noqa: RUF012  T-SQL has no non-finite floats
    storage: ClassVar[str] = "DISTRIBUTION = ROUND_ROBIN"
    """The storage of temporary tables: distributed, so that they can be joined with other tables."""

    def __init__(self, connection: Any, target: Target, database: str) -> None:
        super().__init__(connection, target, database)
        self.schema = str(target.config.get("schema", "dbo"))

    def rendered(self, sql: exp.Expr) -> str:
        # T-SQL requires a semicolon after MERGE.
        return super().rendered(sql) + (";" if isinstance(sql, exp.Merge) else "")

    def run(self, sql: exp.Expr) -> None:
        schema = schema_named(sql)
        if schema is not None and sql.args.get("cascade"):
            self._drop_schema(schema)
        else:
            super().run(sql)

    def _drop_schema(self, named: exp.Table) -> None:
        """Drop a schema and its contents, because T-SQL has no CASCADE."""
        tables = table("tables", "information_schema", named.db or self.database)
        for kind, name in self.rows(_upper(statement(_TABLES, tables=tables, schema=named.name))):
            word = "view" if kind == "VIEW" else "table"
            self.run(statement(f"drop {word} if exists :dropped", dropped=table(name, named.name)))
        self.run(statement("drop schema if exists :named", named=table(named.name)))

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        name, rows = (self.adapted(each).sql(self.dialect) for each in (made, query))
        self._make(made, f"{name} WITH ({self.storage}) AS {rows}")

    def define(self, made: exp.Table, columns: Mapping[str, exp.DataType]) -> None:
        self._make(made, f"{self.adapted(defined(made, columns)).sql(self.dialect)} WITH ({self.storage})")

    def _make(self, made: exp.Table, text: str) -> None:
        if made.name in self._made:
            self.run(statement("drop table if exists :made", made=made))
        self.execute(self.commented(f"CREATE TABLE {text}")).close()
        self._made.add(made.name)

    def literal(self, value: object) -> str:
        text = super().literal(value)
        return f"N{text}" if isinstance(value, str) and not value.isascii() else text

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("begin transaction").close()
        try:
            yield
        except BaseException:
            self.execute("rollback transaction").close()
            raise
        self.execute("commit transaction").close()

    def type_of(self, name: str) -> exp.DataType:
        words = {"varchar": "varchar(8000)", "json": "text", "timestamp": "datetime2(6)", "boolean": "bit"}
        return exp.DataType.build(words.get(name, name), dialect="fabric")

    def document(self, text: exp.Expr) -> exp.Expr:
        return text

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        return conditioned(replaced(sql, self._adapt))

    def _adapt(self, node: exp.Expr) -> exp.Expr:
        return _adapt(node)

    def create_schema(self, name: str) -> None:
        # sqlglot renders this with a check of the catalog.
        self.run(statement("create schema if not exists :schema", schema=table(name)))

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        found: list[tuple[str, ...]] = []
        for database, named in by_database(relations, self.database, self.schema).items():
            columns = table("columns", "information_schema", database)
            rows = self.rows(_upper(statement(_COLUMNS, columns=columns, named=named)))
            found += [(*place, _kind(kind, digits, scale)) for *place, kind, digits, scale in rows]
        return found_in(found, relations, self.database, self.schema)  # type: ignore[arg-type]

    def types_of(self, query: exp.Query) -> dict[str, str]:
        nothing = exp.select("*").from_(query.subquery("revetl_typed")).where("1 = 0")
        cursor = self.execute(self.rendered(nothing))
        found = {
            name: f"decimal({digits},{scale})" if kind is Decimal else _TYPES.get(kind, "varchar")
            for name, kind, _, _, digits, scale, *_ in cursor.description
        }
        cursor.close()
        return found

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        # Hash the values' hashes, with a text for null, so that different rows have different texts.
        parts = [
            exp.func("coalesce", _hexadecimal("MD5", self._text(value, kind)), exp.convert("-"))
            for value, kind in values
        ]
        hashed = call("hashbytes", "SHA2_256", call("concat", "", *parts))
        return _converted("bigint", _converted("binary(8)", hashed))

    def _text(self, value: exp.Expr, kind: str) -> exp.Expr:
        return self.json_float(value) if kind_of(kind).family == "float" else exp.cast(value, "text")

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        first = call("substring", call("hashbytes", "MD5", text), 1, 4)
        return exp.paren(exp.Mod(this=_converted("bigint", first), expression=exp.convert(buckets)))

    def joined(self, texts: Sequence[exp.Expr]) -> exp.Expr:
        # Without a long text among them, concatenation silently truncates at 8,000 bytes.
        return exp.cast(super().joined([exp.cast(texts[0], "text"), *texts[1:]]), "text")

    def moment(self, value: exp.Expr, kind: str) -> exp.Expr:
        if kind.startswith("datetimeoffset"):
            value = exp.AtTimeZone(this=value, zone=exp.convert("UTC"))
        text = _converted("varchar(26)", exp.cast(value, "timestamp"), 121)
        return self.joined([call("replace", text, " ", "T"), exp.convert("Z")])

    def json_float(self, value: exp.Expr) -> exp.Expr:
        # Style 3 preserves all digits.
        return _converted("varchar(40)", exp.cast(value, "double"), 3)

    def trimmed(self, text: exp.Expr) -> exp.Expr:
        # Synapse's rtrim only removes spaces.
        made = text.copy()
        for character in ("0", "."):
            made = call("replace", call("rtrim", call("replace", made, character, " ")), " ", character)
        return if_pointed(text, made)

    def json_other(self, value: exp.Expr, kind: str) -> exp.Expr:
        return self.quoted(call("string_escape", exp.cast(value, "text"), "json"))

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        # json_value returns scalars, json_query objects and arrays.
        word = name.replace("\\", "\\\\").replace('"', '\\"')
        path = f'$."{word}"'
        return exp.func(
            "coalesce", call("json_value", document, path), call("json_query", document.copy(), path)
        )


class Synapse(Fabric):
    """`revetl.warehouse.Warehouse` with a Synapse connection. Synapse can't create a table in a transaction,
    and requires a hash-distributed table for MERGE, which becomes a scratch table, a DELETE and an INSERT."""

    title = "Synapse"
    hash_by = "synapse"
    has_transactions = False
    # Columnstore tables don't support text columns of unlimited length.
    storage = "DISTRIBUTION = ROUND_ROBIN, HEAP"

    def run(self, sql: exp.Expr) -> None:
        if not isinstance(sql, exp.Merge):
            super().run(sql)
            return
        columns = self.columns(table(sql.this.name, sql.this.db, sql.this.catalog))
        rows, gone, again = in_parts(sql, list(columns), _MERGED)
        self.temporary(_MERGED, rows)
        with super().transaction():
            super().run(gone)
            super().run(again)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def _adapt(self, node: exp.Expr) -> exp.Expr:
        return told_apart(node) if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ) else _adapt(node)


def _adapt(node: exp.Expr) -> exp.Expr:
    if is_scratch(node):
        node.set("this", exp.to_identifier(f"#{node.name}", quoted=True))
    elif isinstance(node, exp.Identifier):
        # Quote all names, because some are reserved words.
        node.set("quoted", True)
    elif isinstance(node, exp.DataType) and node.this == exp.DataType.Type.VARCHAR and not node.expressions:
        # Without a length, varchar has 30 bytes.
        return exp.DataType.build("varchar(8000)")
    elif isinstance(node, exp.Literal) and node.is_string and not node.name.isascii():
        return exp.National(this=node.name)
    elif isinstance(node, exp.SHA2):
        return call("lower", _hexadecimal("SHA2_256", node.this, 64))
    elif isinstance(node, exp.RegexpReplace):
        # T-SQL replaces every match, and this argument would be the start position.
        node.set("modifiers", None)
    elif isinstance(node, exp.Group) and isinstance(node.parent, exp.Select):
        # T-SQL can't group by position.
        selects = node.parent.selects
        by = node.expressions
        node.set(
            "expressions", [selects[int(each.name) - 1].unalias() if each.is_int else each for each in by]
        )
    return node


def _upper(sql: exp.Expr) -> exp.Expr:
    """Convert names in a catalog query to upper case, which case-sensitive databases require."""

    def spelled(node: exp.Expr) -> exp.Expr:
        is_own = node.arg_key in ("this", "db") and isinstance(node.parent, exp.Column | exp.Table)
        if isinstance(node, exp.Identifier) and is_own:
            return exp.to_identifier(node.name.upper(), quoted=True)
        return node

    return replaced(sql, spelled)


def _kind(name: str, digits: int | None, scale: int | None) -> str:
    return f"decimal({digits},{scale})" if name in ("decimal", "numeric") else name


def _converted(kind: str, value: exp.Expr, style: int | None = None) -> exp.Expr:
    return call("convert", exp.var(kind), value, *([] if style is None else [style]))


def _hexadecimal(algorithm: str, text: exp.Expr, digits: int = 32) -> exp.Expr:
    return _converted(f"varchar({digits})", call("hashbytes", algorithm, text), 2)
