"""What engines have in common that are asked over a DB-API connection (PEP 249)."""

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
"""How PostgreSQL, Redshift, Snowflake, BigQuery, Databricks and SQL Server say that a right is missing."""
_SECRET = re.compile(r"pass|pwd|token|secret|key", re.IGNORECASE)
_MOMENT = datetime(2000, 1, 1)
_LOADED_ROWS = 1_000
_LOADED_CHARACTERS = 2_000_000
"""What one INSERT carries: T-SQL takes no more rows, and no engine likes longer statements."""


class Engine:
    """`revetl.warehouse.Warehouse` over a DB-API connection that commits each statement unless a transaction
    was begun. A subclass says what is different on its engine."""

    dialect: ClassVar[str]
    title: ClassVar[str]
    """What people call the engine."""

    errors: ClassVar[tuple[type[Exception], ...]] = (Exception,)
    """What the driver raises."""

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
        """Run a statement of the engine's own words; gives the cursor."""
        with self.told():
            cursor = self.connection.cursor()
            try:
                cursor.execute(sql)
            except BaseException:
                cursor.close()
                raise
        return cursor

    def rendered(self, sql: exp.Expr) -> str:
        """A statement in the engine's words."""
        return self.commented(self.adapted(sql).sql(self.dialect))

    def commented(self, text: str) -> str:
        """A rendered statement with the run's comment."""
        engine = self.dialect.partition(",")[0]
        return text if self.comment is None else commented(text, self.comment, engine)

    def adapted(self, sql: exp.Expr) -> exp.Expr:
        """A statement with what sqlglot does not know about the engine put right."""
        return sql

    @contextmanager
    def told(self) -> Iterator[None]:
        """The engine's errors as WarehouseError, in its own words and without secrets."""
        try:
            yield
        except self.errors as error:
            sentence = self.sentence(error)
            if _DENIED.search(sentence):
                raise AccessDenied(
                    f"{self.title}: {sentence.rstrip('.')}. The target's user lacks this right; `revetl "
                    "roles --print` prints "
                    "the grants that each role needs."
                ) from error
            raise WarehouseError(f"{self.title}: {sentence}") from error

    def sentence(self, error: Exception) -> str:
        """What the engine says was wrong, without the statement it quotes."""
        return without(
            self._secrets, str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        )

    def type_of(self, name: str) -> exp.DataType:
        return exp.DataType.build(name)

    def document(self, text: exp.Expr) -> exp.Expr:
        return exp.cast(text, self.type_of("json"))

    def create_schema(self, name: str) -> None:
        # Asked for first: who may not make schemas is refused even where there is one.
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
        """By INSERTs of many rows each, for engines that take data in no other way from here."""
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
        """Make the temporary table `made` of columns, replacing one of that name."""
        if made.name in self._made:
            self.run(statement("drop table if exists :made", made=made))
        self.run(exp.Create(this=defined(made, columns), kind="TABLE", properties=TEMPORARY.copy()))
        self._made.add(made.name)

    def literal(self, value: object) -> str:
        """A value in the engine's words."""
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
        """Nothing: one statement alone keeps others from writing."""

    def made_in(self, schema: str, make: Callable[[], object], missing: str) -> None:
        """Make a scratch table in a schema; where the engine's answer is that it is `missing`, as before the
        first run, that is made first."""
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
                raise WarehouseError(f"{self.title}: there is no {relation.sql()}.")
            return found
        return self.types_of(relation)

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        raise NotImplementedError  # each engine's own

    def types_of(self, query: exp.Query) -> dict[str, str]:
        """Column name to type name of a query, which is not run."""
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
        """A value as JSON text, as `json_object` has it; never null."""
        raise NotImplementedError  # each engine's own

    def joined(self, texts: Sequence[exp.Expr]) -> exp.Expr:
        """Texts that are never null, one after the other."""
        made = texts[0]
        for text in texts[1:]:
            made = exp.DPipe(this=made, expression=text, safe=True)
        return exp.paren(made)

    def attach(self, target: Target, root: Path) -> str:
        if target.type != self._target.type:
            raise UsageError(
                f"profiles.yml: target '{target.name}' is of type '{target.type}', not {self._target.type}."
            )
        raise UsageError(
            f"profiles.yml: target '{target.name}' is another database than target '{self._target.name}', "
            f"and {self.title} reads one at a time. Compare within one database."
        )

    def close(self) -> None:
        self.connection.close()


_MOST_EXACT = 2**53


def is_whole(value: exp.Expr) -> exp.Expr:
    """Whether a float or decimal is an integer that is exact in either."""
    return statement(
        ":value = floor(:value) and :value between :least and :most",
        value=value,
        least=-_MOST_EXACT,
        most=_MOST_EXACT,
    )


def json_word(text: str) -> str:
    """A text as JSON writes it."""
    import orjson

    return orjson.dumps(text).decode()


SCRATCH = "revetl_"
"""Unqualified tables of such names are the runner's temporary ones."""


def is_scratch(node: exp.Expr) -> bool:
    """Whether a node names one of the runner's temporary tables; a schema's name is a table within one."""
    if not isinstance(node, exp.Table) or node.args.get("db") or isinstance(node.parent, exp.Table):
        return False
    return node.name.startswith(SCRATCH)


def schema_named(sql: exp.Expr) -> exp.Table | None:
    """The schema that a statement makes or drops, as a table whose own schema is its database."""
    if not isinstance(sql, exp.Create | exp.Drop) or sql.args.get("kind") != "SCHEMA":
        return None
    return next((each for each in sql.find_all(exp.Table) if isinstance(each.parent, exp.Table)), None)


def replaced(sql: exp.Expr, by: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """A copy of a statement with what `by` gives for each of its nodes, those inside of another first."""
    root = sql.copy()
    # Breadth first the other way round: what is inside comes before what it is in.
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
    """A function of the engine that sqlglot need not know."""
    return exp.Anonymous(
        this=name,
        expressions=[each if isinstance(each, exp.Expr) else exp.convert(each) for each in arguments],
    )


def place_of(relation: exp.Table, database: str, schema: str) -> tuple[str, str, str]:
    """Database, schema and name of a relation, by default those given, as catalogs without regard to case are
    searched by."""
    named = relation.catalog or database, relation.db or schema, relation.name
    return named[0].lower(), named[1].lower(), named[2].lower()


def by_database(
    relations: Iterable[exp.Table], database: str, schema: str, spelled: Callable[[str], str] = str
) -> dict[str, exp.Expr]:
    """Database to which rows of its `information_schema.columns` (as `c`) are about the relations. There,
    their names are as `spelled` gives them."""
    found: dict[str, list[exp.Expr]] = {}
    for relation in relations:
        names = {"table_schema": relation.db or schema, "table_name": relation.name}
        tests = [exp.column(name, table="c").eq(spelled(value)) for name, value in names.items()]
        found.setdefault(relation.catalog or database, []).append(exp.paren(exp.and_(*tests)))
    return {name: exp.or_(*tests) for name, tests in found.items()}


def found_in(
    rows: Iterable[tuple[str, str, str, str, str]], relations: Sequence[exp.Table], database: str, schema: str
) -> list[dict[str, str] | None]:
    """Of each relation its columns, from a catalog's rows: database, schema, name, column, type."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for catalog, schema, name, column, kind in rows:
        found.setdefault((catalog.lower(), schema.lower(), name.lower()), {})[column] = kind
    return [found.get(place_of(relation, database, schema)) for relation in relations]


def secrets_of(target: Target) -> list[str]:
    """The values of a target that no error may show."""
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
    """A text with secrets replaced."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def defined(made: exp.Table, columns: Mapping[str, exp.DataType]) -> exp.Schema:
    """A table with its columns, as CREATE TABLE has it."""
    return exp.Schema(
        this=made.copy(),
        expressions=[
            exp.ColumnDef(this=exp.to_identifier(name, quoted=True), kind=kind)
            for name, kind in columns.items()
        ],
    )


def portable(kind: pa.DataType) -> str:
    """The portable name of Arrow's type: of those that are loaded."""
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
    """Rows, as many at a time as make a statement of bearable length."""
    first = length = 0
    for place, row in enumerate(rows):
        if length + len(row) > _LOADED_CHARACTERS and place > first:
            yield rows[first:place]
            first, length = place, 0
        length += len(row)
    if first < len(rows):
        yield rows[first:]
