"""`revetl load`: files of Segment-spec messages into the raw tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from revetl.errors import UsageError
from revetl.ingest import readers, rules
from revetl.ingest.raw_tables import MESSAGE_TABLES, REJECTED, raw_columns

_STORED_AS = {"json": "json using compression zstd"}
"""Documents are most of what is landed; compressed they are a tenth, and quicker to write."""


@dataclass(frozen=True)
class FileLoaded:
    """What became of one file's messages: landed by table, already there, and rejected by reason."""

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
class Loaded:
    """What became of all files' messages, and the table that keeps the rejected ones."""

    files: tuple[FileLoaded, ...]
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
class Progress:
    """How far the load is: `step` of `steps`, and the file it is at."""

    file: str
    step: int
    steps: int


def load_files(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    *,
    raw_schema: str = "raw",
    on_progress: Callable[[Progress], None] | None = None,
) -> Loaded:
    """Land the messages of files in `raw_schema`, making the tables that are missing.

    Idempotent on the message id: what is there already is left as it is. A message that cannot be landed is
    kept in `rejected_messages`. A file is landed whole or not at all. Raises UsageError for a file that is
    missing or of an unknown format, before anything is landed.
    """
    kinds = [readers.format_of(file) for file in files]
    connection.execute("set timezone = 'UTC'")
    create_raw_tables(connection, raw_schema)
    steps = len(files) * (len(MESSAGE_TABLES) + 1)
    done = []
    for index, (file, kind) in enumerate(zip(files, kinds, strict=True)):

        def tell(step: int, first: int = index * (len(MESSAGE_TABLES) + 1), name: str = str(file)) -> None:
            if on_progress is not None:
                on_progress(Progress(name, first + step, steps))

        tell(0)
        connection.begin()
        try:
            done.append(_load_file(connection, file, kind, raw_schema, tell))
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
    return Loaded(tuple(done), f"{raw_schema}.{REJECTED}")


def create_raw_tables(connection: duckdb.DuckDBPyConnection, raw_schema: str) -> None:
    """Make the raw schema and those of its tables that are missing."""
    connection.execute(f'create schema if not exists "{raw_schema}"')
    for table, columns in raw_columns().items():
        definition = ", ".join(f'"{name}" {_STORED_AS.get(kind, kind)}' for name, kind in columns.items())
        connection.execute(f'create table if not exists "{raw_schema}"."{table}" ({definition})')


def _load_file(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    kind: str,
    raw_schema: str,
    tell: Callable[[int], None],
) -> FileLoaded:
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
    landed = {}
    now = datetime.now(UTC).replace(tzinfo=None)
    for step, (message_type, table) in enumerate(MESSAGE_TABLES.items(), start=1):
        landed[table] = _land(connection, message_type, table, raw_schema, now)
        tell(step)
    rejected = _keep_rejected(connection, str(file), raw_schema, now)
    query = "select count(*) from parsed_messages where reason is null"
    ((messages,),) = connection.execute(query).fetchall()
    connection.execute("drop table parsed_messages")
    counts = {table: count for table, count in landed.items() if count}
    return FileLoaded(str(file), counts, messages - sum(landed.values()), rejected, tuple(ignored))


def _land(
    connection: duckdb.DuckDBPyConnection, message_type: str, table: str, raw_schema: str, now: datetime
) -> int:
    """Insert the messages of a type whose ids are not there yet, the first of each id; gives their number."""
    columns = rules.landed_columns(table)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(f'{value} as "{name}"' for name, value in columns.items())
    # Only ids and places are sorted out; the documents are touched once, when they are written.
    ((count,),) = connection.execute(
        f"""
        insert into "{raw_schema}"."{table}" ({names})
        with messages as (
            select rowid as place, {columns["id"]} as id from parsed_messages
            where reason is null and type = '{message_type}'
        ),
        first_of_each as (
            select min(place) as place from messages
            where id not in (
                select landed.id from "{raw_schema}"."{table}" as landed where landed.id is not null
            )
            group by id
        )
        select {values} from parsed_messages where rowid in (select place from first_of_each)
        """,
        {"now": now},
    ).fetchall()
    return int(count)


def _keep_rejected(
    connection: duckdb.DuckDBPyConnection, file: str, raw_schema: str, now: datetime
) -> dict[str, int]:
    """Keep what cannot be landed, unless this very line was kept before; gives the reasons' numbers."""
    connection.execute(
        f"""
        insert into "{raw_schema}"."{REJECTED}" (file, line_number, reason, text, uuid_ts)
        select $file, line_number, reason, text, $now from parsed_messages as m
        where reason is not null and not exists (
            select 1 from "{raw_schema}"."{REJECTED}" as kept
            where kept.file = $file and kept.line_number = m.line_number
            and kept.reason = m.reason and kept.text is not distinct from m.text
        )
        order by line_number
        """,
        {"file": file, "now": now},
    )
    reasons = (
        "select reason, count(*) from parsed_messages where reason is not null group by 1 order by 2 desc, 1"
    )
    return dict(connection.execute(reasons).fetchall())
