"""What the runner needs of a warehouse, and how it opens the one a dbt target names.

Statements are sqlglot expressions, written once and rendered for the engine here; only what no dialect
knows how to render (the row hash, JSON building) is a method of the engine.
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
    """One open connection. Every method raises WarehouseError with the engine's own sentence."""

    dialect: str
    """The sqlglot dialect statements are rendered in."""

    hash_by: str
    """Names what made a row hash: an engine's hash may change between its versions."""

    comment: str | None
    """A text of `revetl.comments.query_comment` that every statement carries."""

    database: str
    """The database (catalog) that is open."""

    has_transactions: bool
    """Whether `transaction` makes several statements one."""

    def run(self, sql: exp.Expr) -> None:
        """Run a statement that gives nothing back."""

    def rows(self, sql: exp.Expr) -> list[tuple[Any, ...]]:
        """The rows of a small result."""

    def stream(self, sql: exp.Expr, batch_rows: int) -> Iterable[pa.RecordBatch]:
        """The rows of a large result, `batch_rows` at a time; never held whole."""

    def type_of(self, name: str) -> exp.DataType:
        """The engine's type for one of the portable names: varchar, bigint, timestamp, json and the like."""

    def document(self, text: exp.Expr) -> exp.Expr:
        """JSON text as a value of the type that `json` is."""

    def create_schema(self, name: str) -> None:
        """Make a schema of the open database, where there is none of that name."""

    def temporary(self, made: exp.Table, query: exp.Query) -> None:
        """Make the temporary table `made` of a query, replacing one of that name. It is gone at `close`."""

    def load(self, made: exp.Table, data: pa.Table) -> None:
        """Make the temporary table `made` of `data`, replacing one of that name."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, where the engine has transactions; elsewhere each statement is. What is run in one
        can be run again after it was cut short."""

    def lock(self, name: exp.Table) -> None:
        """Keep others from writing to a table until the transaction ends, where one statement alone would
        not."""

    def catalog(self, relations: Sequence[exp.Table]) -> list[dict[str, str] | None]:
        """Of each relation, what `columns` gives, or None where there is none; in one statement."""

    def columns(self, relation: exp.Table | exp.Query) -> dict[str, str]:
        """Column name to type name of a relation or query; raises WarehouseError when there is none."""

    def exists(self, relation: exp.Table) -> bool:
        """Whether there is such a table or view."""

    def row_hash(self, values: Sequence[tuple[exp.Expr, str]]) -> exp.Expr:
        """A signed 64-bit hash of values (each with its type name) in order, never null; nulls count."""

    def bucket(self, text: exp.Expr, buckets: int) -> exp.Expr:
        """A number of 0 to `buckets` - 1 that the text falls into: its md5's first 32 bits, as every engine
        makes them, modulo `buckets`."""

    def json_object(self, items: Mapping[str, tuple[exp.Expr, str]], whole: Collection[str] = ()) -> exp.Expr:
        """The text of a JSON object of name to (value, type name): numbers and booleans as such, times as
        ISO 8601 in UTC, at any depth. Numbers that readers of JSON would round are text; what JSON has no
        word for (NaN, infinity) is `{NONFINITE: text}`. Of the floats and decimals that `whole` names, those
        that are integers are written as such."""

    def json_text(self, document: exp.Expr, name: str) -> exp.Expr:
        """The member `name` of JSON text, as text."""

    def json_differs(self, before: exp.Expr, after: exp.Expr, names: Sequence[str]) -> exp.Expr:
        """Whether any of the members `names` has another value in one JSON text than in another."""

    def count_differences(self, both: exp.Query, names: Sequence[str]) -> exp.Query | None:
        """In how many rows of `both` (JSON texts `known_fields` and `fields_now`) each of the members `names`
        differs: a query of one JSON text, name to count. None where the engine has no better way than to
        count the tests of `json_differs`, one a member."""

    def attach(self, target: Target, root: Path) -> str:
        """The database of another target of the same engine, readable from here. Raises UsageError when it
        cannot be, WarehouseError when it is not there."""

    def close(self) -> None:
        """Give the warehouse back; a DuckDB file is free for others from here on."""


@dataclass(frozen=True)
class Driver:
    """How an engine is opened: its module here (which has `open_engine`), the package that its connection is
    made by, and the extra of revetl that brings it."""

    module: str
    package: str
    extra: str | None = None


DRIVERS = {
    "duckdb": Driver("revetl.warehouse.duckdb", "duckdb"),
    "postgres": Driver("revetl.warehouse.postgres", "adbc_driver_postgresql", "postgres"),
    "spark": Driver("revetl.warehouse.spark", "pyspark", "spark"),
    # dbt's adapter opens these: it brings the driver, and can sign in by all that a profile may say.
    "snowflake": Driver("revetl.warehouse.snowflake", "dbt.adapters.snowflake", "snowflake"),
    "bigquery": Driver("revetl.warehouse.bigquery", "dbt.adapters.bigquery", "bigquery"),
    "redshift": Driver("revetl.warehouse.redshift", "dbt.adapters.redshift", "redshift"),
    "databricks": Driver("revetl.warehouse.databricks", "dbt.adapters.databricks", "databricks"),
    "fabric": Driver("revetl.warehouse.fabric", "dbt.adapters.fabric", "fabric"),
    "synapse": Driver("revetl.warehouse.fabric", "dbt.adapters.synapse", "fabric"),
}
"""By dbt's name of the adapter."""


@dataclass(frozen=True)
class Opening:
    """How a warehouse is to be opened: `state_schema` is where scratch tables go on an engine without
    temporary ones; the rest is said at `open_warehouse`."""

    root: Path
    state_schema: str = "revetl"
    read_only: bool = False
    light: bool = False
    lock_timeout: float = 60.0
    say: Say = lambda _: None


def open_warehouse(target: Target, opening: Opening) -> Warehouse:
    """The warehouse of a dbt target. A DuckDB path is taken from `root`, as dbt takes it. `light` is for
    small statements beside a delivery: an embedded engine then takes little memory. `read_only` says that
    nothing but temporary tables will be written.

    Waits up to `lock_timeout` seconds for a DuckDB file that another process holds, telling `say` once.
    Raises UsageError for an engine that is not supported or whose driver is not installed, WarehouseError
    when it cannot be opened.
    """
    check_target(target)
    driver = DRIVERS[target.type]
    if importlib.util.find_spec(driver.package) is None:
        raise UsageError(
            f"{target.called} is of type '{target.type}', and {driver.package} is not "
            f"installed here. Run `pip install 'revetl[{driver.extra}]'`."
        )
    opened: Warehouse = importlib.import_module(driver.module).open_engine(target, opening)
    return opened


def check_target(target: Target) -> None:
    """Raises UsageError for a target that cannot be opened, whatever is there."""
    if target.type not in DRIVERS:
        raise UsageError(
            f"{target.called} is of type '{target.type}', which revetl cannot open. "
            f"{nearest(target.type, DRIVERS)}"
        )
    if target.type == "duckdb" and str(target.config.get("path") or ":memory:") == ":memory:":
        raise UsageError(f"{target.called} has path ':memory:', which no other process can see. Name a file.")


def database_of(target: Target) -> str | None:
    """The database a target opens, where its configuration tells; dbt writes it into the manifest."""
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
    """Where a target's warehouse is, by what its configuration says and whoever signs in: `type`, and of
    `host`, `port`, `account`, `database` what there is; of a DuckDB file, the `file`."""
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
