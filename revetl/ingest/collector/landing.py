"""Land segments in the raw tables, by the code of `revetl load`.

A segment is deleted after its transaction was committed. Killed in between, it is landed again, and every
message is recognized by its id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import orjson

from revetl.errors import RevetlError, WarehouseError
from revetl.ingest.collector.payloads import parse_payload
from revetl.ingest.collector.segments import SegmentContent, SegmentLog, read_segment
from revetl.ingest.landing import RemoteLanding, SameFile
from revetl.ingest.load import load_files
from revetl.warehouse import Warehouse
from revetl.warehouse.duckdb import DuckDB

_MOST_SEGMENTS = 8
"""Segments that one opening of the warehouse lands, so that others get their turn."""
_LONGEST_PAUSE = 60.0
_log = logging.getLogger("revetl")

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]


@dataclass(frozen=True)
class LandingResult:
    """What a landing did: segments and messages landed, and bytes of segments that were damaged."""

    segments: int = 0
    landed: int = 0
    already_landed: int = 0
    rejected: int = 0
    damaged_bytes: int = 0

    def __add__(self, other: LandingResult) -> LandingResult:
        return LandingResult(
            self.segments + other.segments,
            self.landed + other.landed,
            self.already_landed + other.already_landed,
            self.rejected + other.rejected,
            self.damaged_bytes + other.damaged_bytes,
        )


def land_segments(
    log: SegmentLog,
    raw_schema: str,
    open_warehouse: OpenWarehouse,
    should_stop: Callable[[], bool] = lambda: False,
) -> LandingResult:
    """Land the closed segments, oldest first. Raises WarehouseError if the warehouse can't be reached, and
    the first error of a segment that can't be landed, after the others were."""
    result = LandingResult()
    failed: dict[Path, Exception] = {}
    while segments := [each for each in log.closed if each not in failed][:_MOST_SEGMENTS]:
        if should_stop():
            break
        with open_warehouse() as warehouse:
            for segment in segments:
                try:
                    result += _land(segment, raw_schema, warehouse)
                except WarehouseError:
                    raise
                except Exception as error:
                    failed[segment] = error
                else:
                    log.remove(segment)
    if failed:
        raise next(iter(failed.values()))
    return result


def _land(segment: Path, raw_schema: str, warehouse: Warehouse) -> LandingResult:
    content = read_segment(segment)
    if content.damaged_bytes:
        _keep_damaged(segment)
    if isinstance(warehouse, DuckDB):
        return _land_content(segment, content, raw_schema, warehouse.connection, None)
    with duckdb.connect() as parser:
        return _land_content(segment, content, raw_schema, parser, warehouse)


def _keep_damaged(segment: Path) -> None:
    """Keep a copy of a damaged segment beside the others: a torn end was never acknowledged, but a disk may
    have lost more."""
    kept = segment.with_suffix(".damaged")
    if not kept.exists():
        kept.write_bytes(segment.read_bytes())


def _land_content(
    segment: Path,
    content: SegmentContent,
    raw_schema: str,
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse | None,
) -> LandingResult:
    result = LandingResult(1, damaged_bytes=content.damaged_bytes)
    rejected: dict[str, list[bytes]] = {}
    with TemporaryDirectory(prefix="revetl-landing-", dir=segment.parent) as folder:
        messages: dict[str, list[bytes]] = {}
        for payload in map(parse_payload, content.payloads):
            if payload.kind == "rejected":
                rejected.setdefault(payload.source, []).extend(payload.lines.splitlines())
            else:
                messages.setdefault(payload.source, []).append(payload.lines)
        for source, lines in messages.items():
            path = Path(folder, f"{source}.ndjson")
            path.write_bytes(b"\n".join(lines) + b"\n")
            loaded = load_files(
                connection,
                [path],
                raw_schema=raw_schema,
                warehouse=warehouse,
                source=source,
                names={path: _name(segment, source)},
            )
            result += LandingResult(0, loaded.landed, loaded.already_landed, loaded.rejected)
    for source, lines in rejected.items():
        _land_rejected(connection, warehouse, raw_schema, _name(segment, source), lines)
        result += LandingResult(rejected=len(lines))
    return result


def _name(segment: Path, source: str) -> str:
    """Return what rejected messages have as their file."""
    return f"collector/{source}/{segment.stem}"


def _land_rejected(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse | None,
    raw_schema: str,
    name: str,
    lines: list[bytes],
) -> None:
    place = (
        SameFile(connection, raw_schema)
        if warehouse is None
        else RemoteLanding(connection, warehouse, raw_schema)
    )
    place.create()
    rows = [orjson.loads(line) for line in lines]
    connection.execute(
        "create or replace temporary table parsed_messages (line_number bigint, reason varchar, text varchar)"
    )
    try:
        connection.execute(
            "insert into parsed_messages "
            "select unnest(range(1, len($reasons) + 1)), unnest($reasons), unnest($texts)",
            {"reasons": [row["reason"] for row in rows], "texts": [row["text"] for row in rows]},
        )
        with place.transaction():
            place.keep_rejected(name, datetime.now(UTC).replace(tzinfo=None))
    finally:
        connection.execute("drop table if exists parsed_messages")


class Lander:
    """Lands in a thread, every `seconds` or as soon as `rows` events wait. A failure is tried again later,
    and the collector goes on accepting."""

    def __init__(
        self,
        log: SegmentLog,
        raw_schema: str,
        open_warehouse: OpenWarehouse,
        *,
        seconds: float,
        rows: int,
    ) -> None:
        self._log = log
        self._raw_schema = raw_schema
        self._open = open_warehouse
        self._seconds = seconds
        self._rows = rows
        self.on_landed: Callable[[LandingResult], None] = lambda _: None
        """Called after each landing."""
        self._waiting = 0
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: str | None = None
        """Why the last landing failed; None if it succeeded."""
        self.failures = 0
        self.last_landed: datetime | None = None

    def notice(self, rows: int) -> None:
        """Count events that wait."""
        self._waiting += rows
        if self._waiting >= self._rows:
            self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="revetl-lander", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Finish the landing that runs, and stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def land(self) -> LandingResult | None:
        """Land what is there. Returns None if it failed."""
        with self._turn:
            return self._land()

    def _land(self) -> LandingResult | None:
        self._waiting = 0
        try:
            self._log.rotate()
            result = land_segments(self._log, self._raw_schema, self._open, self._stopping.is_set)
        except Exception as error:
            # No failure of the warehouse may end the collector: events are on disk, and wait.
            self.failures += 1
            known = isinstance(error, RevetlError)
            sentence = str(error).partition("\n")[0]
            self.error = str(error) if known else f"{type(error).__name__}: {sentence}"
            level = logging.WARNING if isinstance(error, WarehouseError) else logging.ERROR
            _log.log(level, "landing failed and is tried again: %s", self.error)
            return None
        self.error = None
        self.last_landed = datetime.now(UTC)
        self.on_landed(result)
        return result

    def _run(self) -> None:
        pause = self._seconds
        while not self._stopping.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            if self._stopping.is_set():
                return
            if self.land() is None:
                # A full group of rows must not have it try again without a pause.
                pause = min(max(self._seconds, 2 * pause), max(_LONGEST_PAUSE, self._seconds))
                self._stopping.wait(min(pause, self._seconds))
            else:
                pause = self._seconds
