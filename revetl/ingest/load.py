"""`revetl load`: load files of Segment-spec messages into the raw tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from revetl.errors import UsageError
from revetl.governance.pii import Hider
from revetl.ingest import readers
from revetl.ingest.hiding import hide
from revetl.ingest.landing import Landing, LandingInfo, RemoteLanding, SameFile
from revetl.ingest.raw_tables import MESSAGE_TABLES, REJECTED
from revetl.warehouse import Warehouse

ALL_SOURCES = "all"
"""The name that `revetl_mtu_monthly` uses for all sources together, which is reserved."""


@dataclass(frozen=True)
class FileResult:
    """The counts of one file's messages: loaded by table, loaded before, and rejected by reason."""

    file: str
    landed: dict[str, int]
    already_landed: int
    rejected: dict[str, int]
    ignored_columns: tuple[str, ...] = ()

    @property
    def landed_count(self) -> int:
        return sum(self.landed.values())

    @property
    def rejected_count(self) -> int:
        return sum(self.rejected.values())


@dataclass(frozen=True)
class LoadResult:
    """The counts of all files' messages, and the table of rejected lines."""

    files: tuple[FileResult, ...]
    rejected_in: str = "raw.rejected_messages"

    @property
    def landed(self) -> int:
        return sum(file.landed_count for file in self.files)

    @property
    def already_landed(self) -> int:
        return sum(file.already_landed for file in self.files)

    @property
    def rejected(self) -> int:
        return sum(file.rejected_count for file in self.files)


@dataclass(frozen=True)
class LoadProgress:
    """The progress of a load: `step` of `steps`, and the current file."""

    file: str
    step: int
    steps: int


def load_files(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    *,
    raw_schema: str = "raw",
    warehouse: Warehouse | None = None,
    source: str | None = None,
    hider: Hider | None = None,
    on_progress: Callable[[LoadProgress], None] | None = None,
    names: Mapping[Path, str] | None = None,
) -> LoadResult:
    """Load the messages of files into `raw_schema`, creating missing tables: in the open DuckDB file or, with
    `warehouse`, there, while the connection only parses.

    Idempotent on the message id: existing messages are unchanged. Invalid messages are stored in
    `rejected_messages`. Each file is loaded atomically, if the warehouse has transactions. `source` is the
    source of the messages. `hider` applies PII rules before anything is stored. `names` are what rejected
    lines have as their file, instead of the path. Raises UsageError for a missing file or unknown format,
    before anything is loaded.
    """
    if source is not None and source.strip() in ("", ALL_SOURCES):
        raise UsageError(f"--source '{source}': is blank or reserved. Use another name.")
    kinds = [readers.format_of(file) for file in files]
    connection.execute("set timezone = 'UTC'")
    place: Landing = SameFile(connection, raw_schema)
    if warehouse is not None:
        place = RemoteLanding(connection, warehouse, raw_schema)
    place.create()
    steps = len(files) * (len(MESSAGE_TABLES) + 1)
    done = []
    for index, (file, kind) in enumerate(zip(files, kinds, strict=True)):

        def tell(step: int, first: int = index * (len(MESSAGE_TABLES) + 1), name: str = str(file)) -> None:
            if on_progress is not None:
                on_progress(LoadProgress(name, first + step, steps))

        tell(0)
        # Parse outside of the transaction: a failed first attempt to read the file would abort it.
        ignored = _parse_file(connection, file, kind, hider)
        with place.transaction():
            name = (names or {}).get(file, str(file))
            done.append(_land_file(connection, place, name, source, ignored, tell))
    return LoadResult(tuple(done), f"{raw_schema}.{REJECTED}")


def _parse_file(
    connection: duckdb.DuckDBPyConnection, file: Path, kind: str, hider: Hider | None
) -> list[str]:
    """Parse the file's messages into `parsed_messages`. Returns the unknown columns."""
    ignored: list[str] = []
    try:
        if kind == "ndjson":
            readers.read_ndjson(connection, file)
        elif kind == "csv":
            ignored = readers.read_csv(connection, file)
        else:
            ignored = readers.read_parquet(connection, file)
    except duckdb.IOException as error:
        raise UsageError(f"{file}: cannot be read: {str(error).strip().splitlines()[0]}") from None
    if hider is not None:
        hide(connection, hider)
    return ignored


def _land_file(
    connection: duckdb.DuckDBPyConnection,
    place: Landing,
    file: str,
    source: str | None,
    ignored: list[str],
    tell: Callable[[int], None],
) -> FileResult:
    """Insert `parsed_messages`, and store rejected lines."""
    landed = {}
    about = LandingInfo(datetime.now(UTC).replace(tzinfo=None), source)
    for step, (message_type, table) in enumerate(MESSAGE_TABLES.items(), start=1):
        landed[table] = place.land(message_type, table, about)
        tell(step)
    place.keep_rejected(file, about.now)
    reasons = (
        "select reason, count(*) from parsed_messages where reason is not null group by 1 order by 2 desc, 1"
    )
    rejected: dict[str, int] = dict(connection.execute(reasons).fetchall())
    query = "select count(*) from parsed_messages where reason is null"
    ((messages,),) = connection.execute(query).fetchall()
    connection.execute("drop table parsed_messages")
    counts = {table: count for table, count in landed.items() if count}
    return FileResult(file, counts, messages - sum(landed.values()), rejected, tuple(ignored))
