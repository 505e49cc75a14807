"""The interface of a warehouse, and opening the warehouse of a dbt target.

Statements are sqlglot expressions, written once and rendered per engine. Only expressions that sqlglot can't
transpile (the row hash, JSON) are methods of the engine.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from revetl.dbt.project_files import Target
from revetl.errors import UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

Say = Callable[[str], None]
NONFINITE = "$nonfinite"


class Warehouse(Protocol):
    """An open connection. Every method raises WarehouseError with the engine's error message."""

    dialect: str
    """The sqlglot dialect to render statements in."""

    hash_by: str
    """The version of the row hash, which may differ between versions of an engine."""

    comment: str | None
    """A text of `query_comment`, added to every statement."""

    database: str
    """The open database (catalog)."""

    has_transactions: bool
    """Whether `transaction` is atomic for several statements."""

    def run(self, sql: exp.Expr) -> None:
        """Run a statement without a result."""

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        """Stream the rows of a large result, `batch_rows` at a time."""

    def type_of(self, name: str) -> exp.DataType:
        """Return the engine's type for a portable name such as varchar, bigint, timestamp or json."""

    def document(self, text: exp.Expr) -> exp.Expr:
        """Convert JSON text to the engine's type for `json`."""

    def create_schema(self, name: str) -> None:
        """Create a schema in the open database, unless it exists."""

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        """Create or replace the temporary table `made` from a query. It is dropped at `close`."""

    def load(self, made: exp.Table, data: pa.Table) -> None:
        """Create or replace the temporary table `made` from `data`."""

    def make_room(self, size: int) -> None:
        """Statements over texts of so many bytes follow: an engine that was opened `light` takes the memory
        that they need."""

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction; without support for transactions, statements are atomic individually. Code in a
        transaction must be repeatable after an interruption."""

    def lock(self, name: exp.Table) -> None:
        """Lock a table against writes until the transaction ends, if a statement's own lock isn't enough."""

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        """Return the `columns` of each relation, or None if it doesn't exist, in one statement."""

    def columns(self, relation: exp.Table | exp.Query) -> dict[str, str]:
        """Return column name to type name of a relation or query. Raises WarehouseError if it doesn't
        exist."""

    def exists(self, relation: exp.Table) -> bool:
        """Whether a table or view exists."""

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        """Return a signed 64-bit hash of ordered values, each with its type name. It is never null, and
        distinguishes nulls."""

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        """Return the bucket of a text, from 0 to `buckets` - 1: the first 32 bits of its md5, which are the
        same on every engine, modulo `buckets`."""

    def json_object(self, items: Mapping[str, tuple[exp.Expr, str]], whole: Collection[str] = ()) -> exp.Expr:
        """Return the text of a JSON object, from name to (value, type name).

        At any depth, numbers and booleans stay such, and times are ISO 8601 in UTC. Numbers that a JSON
        reader would round become text. NaN and infinity become `{NONFINITE: text}`. Floats and decimals in
        `whole` are written as integers if they are integral.
        """

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        """Return the member `name` of JSON text, as text."""

    def json_differs(self, before: exp.Expr, after: exp.Expr, names: Sequence[str]) -> exp.Expr:
        """Return whether any of the members `names` differs between two JSON texts."""

    def count_differences(self, both: exp.Query, names: Sequence[str]) -> exp.Query | None:
        """Return a query that counts, for each of the members `names`, the rows of `both` in which the JSON
        texts `known_fields` and `fields_now` differ. Its result is one JSON text, name to count. None if
        counting with `json_differs` per member is as good."""

    def attach(self, target: Target, root: Path) -> str:
        """Attach the database of another target of the same engine for reading, and return its name. Raises
        UsageError if that isn't possible, WarehouseError if it doesn't exist."""

    def close(self) -> None:
        """Close the connection, and release a DuckDB file."""


@dataclass(frozen=True)
class Driver:
    """How to open an engine: its module (with `open_engine`), the package of its connection, and the extra of
    revetl that installs it."""

    module: str
    package: str
    extra: str | None = None


DRIVERS = {
    "duckdb": Driver("revetl.warehouse.duckdb", "duckdb"),
    "postgres": Driver("revetl.warehouse.postgres", "adbc_driver_postgresql", "postgres"),
    "spark": Driver("revetl.warehouse.spark", "pyspark", "spark"),
    # Opened with dbt's adapter, which installs the driver and supports every authentication of a profile.
    "snowflake": Driver("revetl.warehouse.snowflake", "dbt.adapters.snowflake", "snowflake"),
    "bigquery": Driver("revetl.warehouse.bigquery", "dbt.adapters.bigquery", "bigquery"),
    "redshift": Driver("revetl.warehouse.redshift", "dbt.adapters.redshift", "redshift"),
    "databricks": Driver("revetl.warehouse.databricks", "dbt.adapters.databricks", "databricks"),
    "fabric": Driver("revetl.warehouse.fabric", "dbt.adapters.fabric", "fabric"),
    "synapse": Driver("revetl.warehouse.fabric", "dbt.adapters.synapse", "fabric"),
}
"""By the name of the dbt adapter."""


@dataclass(frozen=True)
class Opening:
    """Options for opening a warehouse; see `open_warehouse`. `state_schema` is the schema of scratch tables
    on an engine without temporary tables."""

    root: Path
    state_schema: str = "revetl"
    read_only: bool = False
    light: bool = False
    lock_timeout: float = 60.0
    say: Say = lambda _: None


def open_warehouse(target: Target, opening: Opening) -> Warehouse:
    """Open the warehouse of a dbt target.

    A DuckDB path is relative to `root`, as in dbt. `light` limits the memory of an embedded engine, for small
    statements during a delivery. With `read_only`, only temporary tables are written. Waits up to
    `lock_timeout` seconds for a DuckDB file that another process has open, with one message to `say`. Raises
    UsageError for an unsupported engine or a missing driver, WarehouseError if it can't be opened.
    """
    check_target(target)
    driver = DRIVERS[target.type]
    if importlib.util.find_spec(driver.package) is None:
        raise UsageError(
            f"{target.called} has type '{target.type}', but {driver.package} is not installed. "
            f"Run `pip install 'revetl[{driver.extra}]'`."
        )
    opened: Warehouse = importlib.import_module(driver.module).open_engine(target, opening)
    return opened


def check_target(target: Target) -> None:
    """Raise UsageError for a target that revetl can't open, by its configuration alone."""
    if target.type not in DRIVERS:
        raise UsageError(
            f"{target.called} has type '{target.type}', which revetl does not support. "
            f"{nearest(target.type, DRIVERS)}"
        )
    if target.type == "duckdb" and str(target.config.get("path") or ":memory:") == ":memory:":
        raise UsageError(
            f"{target.called} has path ':memory:', which other processes cannot open. Set it to a file."
        )


def database_of(target: Target) -> str | None:
    """Return the database of a target, as in the manifest; None if its configuration doesn't name it."""
    if target.type == "duckdb":
        return str(target.config.get("database") or Path(str(target.config.get("path", ""))).stem)
    named = target.config.get("database") or target.config.get("dbname")
    return None if named is None else str(named)


_NAMES = {
    "host": ("host", "server"),
    "port": ("port",),
    "account": ("account",),
    "database": ("database", "dbname", "catalog", "project"),
}


def location_of(target: Target, root: Path) -> dict[str, str]:
    """Return the location of a target's warehouse, independent of its user: `type`, and those of `host`,
    `port`, `account` and `database` that are set; for a DuckDB file, `file`."""
    found = {"type": target.type}
    if target.type == "duckdb":
        path = str(target.config.get("path") or "").partition("?")[0]
        is_file = "://" not in path and not path.startswith(("md:", "motherduck:"))
        return {**found, "file": str((root / path).resolve()) if is_file else path}
    for name, options in _NAMES.items():
        value = next((target.config[each] for each in options if target.config.get(each)), None)
        if value is not None:
            found[name] = str(value).lower() if name in ("host", "account") else str(value)
    return found
