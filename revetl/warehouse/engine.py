"""The base class of engines with a DB-API connection (PEP 249)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import sqlglot
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.errors import AccessDenied, UsageError, WarehouseError
from revetl.warehouse.query_comment import commented
from revetl.warehouse.templates import statement, table

TEMPORARY = exp.Properties(expressions=[exp.TemporaryProperty()])
_DENIED = re.compile(
    r"permission (was )?denied|permission_denied|access denied|not authorized to"
    r"|insufficient (privilege|permission)",
    re.IGNORECASE,
)
"""Errors for a missing permission in PostgreSQL, Redshift, Snowflake, BigQuery, Databricks and T-SQL."""
_SECRET = re.compile(r"pass|pwd|token|secret|key", re.IGNORECASE)
_MOMENT = datetime(2000, 1, 1)
_LOADED_ROWS = 1_000
_LOADED_CHARACTERS = 2_000_000
"""The limits of one INSERT: T-SQL's maximum of rows, and a length that every engine accepts."""


class Engine:
    """`revetl.warehouse.Warehouse` over a DB-API connection in autocommit mode. Subclasses override what
    differs on their engine."""

    dialect: ClassVar[str]
    title: ClassVar[str]
    """The display name of the engine."""

    errors: ClassVar[tuple[type[Exception], ...]] = (Exception,)
    """The driver's exceptions."""

    has_transactions: bool = True
    hash_by: str
    comment: str | None = None

    def __init__(self, connection: Any, target: Target, database: str) -> None:
        self.connection = connection
        self.database = database
        self._target = target
        self._secrets = secrets_of(target)
        self._made: set[str] = set()

    def run(self, sql: exp.Expr) -> None:
        self.execute(self.rendered(sql)).close()

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        cursor = self.execute(self.rendered(sql))
        with self.told():
            found = [tuple(row) for row in cursor.fetchall()]
            cursor.close()
        return found

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        cursor = self.execute(self.rendered(sql))
        names = [column[0] for column in cursor.description]
        while True:
            with self.told():
                rows = cursor.fetchmany(batch_rows)
            if not rows:
                break
            columns = [pa.array(list(values)) for values in zip(*rows, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, names=names)
        cursor.close()

    def execute(self, sql: str) -> Any:
        """Run a rendered statement. Returns the cursor."""
        with self.told():
            cursor = self.connection.cursor()
            try:
                cursor.execute(sql)
            except BaseException:
                cursor.close()
                raise
        return cursor

    def rendered(self, sql: exp.Expr) -> str:
        """Render a statement for the engine."""
        return self.commented(self.adapted(sql).sql(self.dialect))

    def commented(self, text: str) -> str:
        """Add the run's comment to a rendered statement."""
        engine = self.dialect.partition(",")[0]
        return text if self.comment is None else commented(text, self.comment, engine)

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        """Adapt a statement to the engine where sqlglot doesn't."""
        return sql

    @contextmanager
    def told(self) -> Iterator[None]:
        """Convert the engine's errors to WarehouseError, with its message redacted."""
        try:
            yield
        except self.errors as error:
            sentence = self.sentence(error)
            if _DENIED.search(sentence):
                raise AccessDenied(
                    f"{self.title}: {sentence.rstrip('.')}. The target's user lacks a permission. Run "
                    "`revetl roles --print` for the grants that each role needs."
                ) from error
            raise WarehouseError(f"{self.title}: {sentence}") from error

    def sentence(self, error: Exception) -> str:
        """Return the engine's error message, without the statement that it quotes."""
        return without(
            self._secrets, str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        )

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build(name)

    def document(self, text: exp.Expr) -> exp.Expr:
        return exp.cast(text, self.type_of("json"))

    def create_schema(self, name: str) -> None:
        # Check first: without the permission to create schemas, `if not exists` fails even if it exists.
        schemata = table("schemata", "information_schema")
        there = statement(
            "select 1 from :schemata as s where s.schema_name = :name", schemata=schemata, name=name
        )
        if self.rows(there):
            return
        self.run(statement("create schema if not exists :schema", schema=table(name)))

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        if made.name in self._made:
            self.run(statement("drop table if exists :made", made=made))
        self.run(exp.Create(this=made, kind="TABLE", expression=query, properties=TEMPORARY.copy()))
        self._made.add(made.name)

    def load(self, made: exp.Table, data: pa.Table) -> None:
        """Load with multi-row INSERTs, for engines without a better way."""
        self.define(made, {field.name: self.type_of(portable(field.type)) for field in data.schema})
        into = exp.Schema(
            this=made.copy(), expressions=[exp.to_identifier(name, quoted=True) for name in data.column_names]
        )
        opening = f"INSERT INTO {self.adapted(into).sql(self.dialect)} VALUES "  # noqa: S608  names of ours
        for batch in data.to_batches(max_chunksize=_LOADED_ROWS):
            columns = [[self.literal(value) for value in column.to_pylist()] for column in batch.columns]
            for rows in _cut([f"({', '.join(row)})" for row in zip(*columns, strict=True)]):
                self.execute(self.commented(opening + ", ".join(rows))).close()

    def define(self, made: exp.Table, columns: Mapping[str, exp.DataType]) -> None:
        """Create or replace the temporary table `made` with columns."""
        if made.name in self._made:
            self.run(statement("drop table if exists :made", made=made))
        self.run(exp.Create(this=defined(made, columns), kind="TABLE", properties=TEMPORARY.copy()))
        self._made.add(made.name)

    def literal(self, value: object) -> str:
        """Render a value as a literal of the engine."""
        if isinstance(value, str):
            return self._words.literal_sql(exp.Literal.string(value))
        if isinstance(value, datetime):
            return self._moment.replace(str(_MOMENT), str(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return "NULL" if value is None else self.adapted(exp.convert(value)).sql(self.dialect)

    @cached_property
    def _moment(self) -> str:
        return self.adapted(exp.convert(_MOMENT)).sql(self.dialect)

    @cached_property
    def _words(self) -> sqlglot.Generator:
        return sqlglot.Dialect.get_or_raise(self.dialect).generator()

    def make_room(self, size: int) -> None:
        """Nothing: the memory is the server's."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("begin").close()
        try:
            yield
        except BaseException:
            self.execute("rollback").close()
            raise
        self.execute("commit").close()

    def lock(self, name: exp.Table) -> None:
        """Do nothing: statements lock sufficiently."""

    def made_in(self, schema: str, make: Callable[[], object], missing: str) -> None:
        """Create a scratch table in a schema. If the engine's error contains `missing`, as before the first
        run, the schema is created first."""
        try:
            make()
        except WarehouseError as error:
            if missing not in str(error).lower():
                raise
            self.create_schema(schema)
            make()

    def exists(self, relation: exp.Table) -> bool:
        return self.catalog([relation])[0] is not None

    def columns(self, relation: exp.Table | exp.Query) -> dict[str, str]:
        if isinstance(relation, exp.Table):
            (found,) = self.catalog([relation])
            if found is None:
                raise WarehouseError(f"{self.title}: {relation.sql()} does not exist. Run `dbt build`.")
            return found
        return self.types_of(relation)

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        raise NotImplementedError  # each engine's own

    def types_of(self, query: exp.Query) -> dict[str, str]:
        """Return column name to type name of a query, without running it."""
        raise NotImplementedError  # each engine's own

    def json_object(self, items: Mapping[str, tuple[exp.Expr, str]], whole: Collection[str] = ()) -> exp.Expr:
        parts: list[exp.Expr] = []
        opening = "{"
        for name, (value, kind) in items.items():
            made = self.json_value(value, kind)
            if name in whole:
                integer = self.json_value(exp.cast(value.copy(), "bigint"), "bigint")
                made = exp.Case(ifs=[exp.If(this=is_whole(value), true=integer)], default=made)
            parts += [exp.convert(f"{opening}{json_word(name)}:"), made]
            opening = ","
        return self.joined([*parts, exp.convert("}" if items else "{}")])

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        raise NotImplementedError  # each engine's own

    def json_differs(self, before: exp.Expr, after: exp.Expr, names: Sequence[str]) -> exp.Expr:
        tests = [
            exp.NullSafeNEQ(
                this=self.json_text(before.copy(), name), expression=self.json_text(after.copy(), name)
            )
            for name in names
        ]
        return exp.or_(statement("1 = 0"), *tests, copy=False)

    def count_differences(self, both: exp.Query, names: Sequence[str]) -> exp.Query | None:
        return None

    def json_value(self, value: exp.Expr, kind: str) -> exp.Expr:
        """Convert a value to JSON text, as in `json_object`; never null."""
        raise NotImplementedError  # each engine's own

    def joined(self, texts: Sequence[exp.Expr]) -> exp.Expr:
        """Concatenate texts that are never null."""
        made = texts[0]
        for text in texts[1:]:
            made = exp.DPipe(this=made, expression=text, safe=True)
        return exp.paren(made)

    def attach(self, target: Target, root: Path) -> str:
        if target.type != self._target.type:
            raise UsageError(
                f"profiles.yml: target '{target.name}' has type '{target.type}', not {self._target.type}. "
                "Choose a target of the same type."
            )
        raise UsageError(
            f"profiles.yml: targets '{target.name}' and '{self._target.name}' have different databases, and "
            f"revetl can read only one at a time on {self.title}. Choose a target with the same database."
        )

    def close(self) -> None:
        self.connection.close()


_MOST_EXACT = 2**53


def is_whole(value: exp.Expr) -> exp.Expr:
    """Return whether a float or decimal is an integer that both types represent exactly."""
    return statement(
        ":value = floor(:value) and :value between :least and :most",
        value=value,
        least=-_MOST_EXACT,
        most=_MOST_EXACT,
    )


def json_word(text: str) -> str:
    """Encode a text as JSON."""
    import orjson

    return orjson.dumps(text).decode()


SCRATCH = "revetl_"
"""The prefix of temporary tables, which are unqualified."""


def is_scratch(node: exp.Expr) -> bool:
    """Whether a node is a temporary table, and not the name of a schema, which is a table inside a table."""
    if not isinstance(node, exp.Table) or node.args.get("db") or isinstance(node.parent, exp.Table):
        return False
    return node.name.startswith(SCRATCH)


def schema_named(sql: exp.Expr) -> exp.Table | None:
    """Return the schema that a statement creates or drops, as a table whose schema is the database."""
    if not isinstance(sql, exp.Create | exp.Drop) or sql.args.get("kind") != "SCHEMA":
        return None
    return next((each for each in sql.find_all(exp.Table) if isinstance(each.parent, exp.Table)), None)


def replaced(sql: exp.Expr, by: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Return a copy of a statement with each node replaced by the result of `by`, children first."""
    root = sql.copy()
    # In reverse breadth-first order, children come before their parents.
    for node in reversed(list(root.bfs())):
        parent, key, place = node.parent, node.arg_key, node.index
        made = by(node)
        if made is node:
            continue
        if parent is None or key is None:
            root = made
        else:
            parent.set(key, made, place)
    return root


def call(name: str, *arguments: exp.Expr | str | int) -> exp.Expr:
    """Call a function of the engine by name."""
    return exp.Anonymous(
        this=name,
        expressions=[each if isinstance(each, exp.Expr) else exp.convert(each) for each in arguments],
    )


def place_of(relation: exp.Table, database: str, schema: str) -> tuple[str, str, str]:
    """Return database, schema and name of a relation in lower case, with defaults for database and schema."""
    named = relation.catalog or database, relation.db or schema, relation.name
    return named[0].lower(), named[1].lower(), named[2].lower()


def by_database(
    relations: Iterable[exp.Table], database: str, schema: str, spelled: Callable[[str], str] = str
) -> dict[str, exp.Expr]:
    """Return, per database, the condition on its `information_schema.columns` (as `c`) that selects the
    relations. `spelled` converts names to the catalog's spelling."""
    found: dict[str, list[exp.Expr]] = {}
    for relation in relations:
        names = {"table_schema": relation.db or schema, "table_name": relation.name}
        tests = [exp.column(name, table="c").eq(spelled(value)) for name, value in names.items()]
        found.setdefault(relation.catalog or database, []).append(exp.paren(exp.and_(*tests)))
    return {name: exp.or_(*tests) for name, tests in found.items()}


def found_in(
    rows: Iterable[tuple[str, str, str, str, str]], relations: Sequence[exp.Table], database: str, schema: str
) -> list[dict[str, str] | None]:
    """Return the columns of each relation from catalog rows: database, schema, name, column, type."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for catalog, schema, name, column, kind in rows:
        found.setdefault((catalog.lower(), schema.lower(), name.lower()), {})[column] = kind
    return [found.get(place_of(relation, database, schema)) for relation in relations]


def secrets_of(target: Target) -> list[str]:
    """Return the secret values of a target, to redact in errors."""
    return _secret_values(target.config)


def _secret_values(config: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += _secret_values(value)
        elif _SECRET.search(name) and value:
            found.append(str(value))
    return found


def without(secrets: Sequence[str], text: str) -> str:
    """Redact secrets in a text."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def defined(made: exp.Table, columns: Mapping[str, exp.DataType]) -> exp.Schema:
    """Return a table with its columns, for CREATE TABLE."""
    return exp.Schema(
        this=made.copy(),
        expressions=[
            exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=kind)
            for name, kind in columns.items()
        ],
    )


def portable(kind: pa.DataType) -> str:
    """Return the portable name of an Arrow type that `load` supports."""
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_integer(kind):
        return "bigint"
    if pa.types.is_floating(kind):
        return "double"
    if pa.types.is_boolean(kind):
        return "boolean"
    return "text"


def _cut(rows: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split rows into chunks of limited total length."""
    first = length = 0
    for place, row in enumerate(rows):
        if length + len(row) > _LOADED_CHARACTERS and place > first:
            yield rows[first:place]
            first, length = place, 0
        length += len(row)
    if first < len(rows):
        yield rows[first:]
