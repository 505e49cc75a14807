"""The write-ahead log of a run: what was sent and acknowledged, on disk before the next batch is sent.

A run has a folder, `.revetl/runs/RUN/`, with the spool (one Parquet file per operation) and this log, a
SQLite database. Rows are identified by operation and position in the spool file. Before a batch is sent,
its range is written as `sent`; its outcome is written when the response arrives. A range that is only
`sent` after a crash has an unknown outcome."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from revetl.delivery.disk import disk_error, faults, may_pass
from revetl.destinations.base.records import Rejection

_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists sent (operation text, first integer, last integer, folded integer default 0);
create table if not exists answered (
    operation text, first integer, last integer, outcome text, folded integer default 0
);
create table if not exists rejected (
    operation text, place integer, reason text, field text, answer text, attempts integer,
    unsure integer, primary key (operation, place)
);
create index if not exists answered_open on answered (folded, operation, first);
"""

DELIVERED = "delivered"
UNSENT = "unsent"


@dataclass(frozen=True)
class Range:
    """The rows from `first` up to, but excluding, `last` in an operation's spool file."""

    operation: str
    first: int
    last: int


@dataclass(frozen=True)
class RangeOutcome:
    """The outcome of a range: `delivered` except for the rejected positions, or `unsent` (certainly not
    applied). `text` is the response that rejected them; `unsure`: an earlier attempt may have been applied,
    so rejected records may be at the destination anyway."""

    range: Range
    outcome: str
    rejected: Mapping[int, Rejection] = field(default_factory=dict)
    attempts: int = 1
    text: str | None = None
    unsure: bool = False


@dataclass(frozen=True)
class Refusal:
    """A rejected row: the reason, the field, the response, and the number of attempts."""

    reason: str
    field: str | None
    answer: str | None
    attempts: int
    unsure: bool


class Journal:
    """One run's write-ahead log. Writers wait until their entry is on disk; entries that arrive together
    share a transaction. Raises DiskError in the writers when that fails."""

    def __init__(self, folder: Path, *, is_there: bool = False) -> None:
        """Open the log in `folder`. With `is_there`, open the log of an earlier run: raises sqlite3.Error
        when it is unreadable, because that doesn't mean that nothing was sent."""
        self.path = folder / "journal.sqlite"
        if is_there:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=rw", uri=True)) as left:
                left.execute("select count(*) from sent").fetchall()
        self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._lock = threading.Lock()
        self._folded: set[int] = set()
        self._waiting: list[tuple[Range | RangeOutcome, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def write(self, entry: Range | RangeOutcome) -> None:
        """Write an entry to disk: a Range that is about to be sent, or the RangeOutcome of a response."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self.write_now, [entry for entry, _ in batch])
            except faults() as fault:
                error = disk_error(fault, self.path.parent)
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def write_now(self, entries: Iterable[Range | RangeOutcome]) -> None:
        """Write entries to disk in one transaction."""
        with self._transaction() as db:
            for entry in entries:
                if isinstance(entry, Range):
                    row = (entry.operation, entry.first, entry.last)
                    db.execute("insert into sent (operation, first, last) values (?, ?, ?)", row)
                    continue
                cut = entry.range
                db.execute(
                    "insert into answered (operation, first, last, outcome) values (?, ?, ?, ?)",
                    (cut.operation, cut.first, cut.last, entry.outcome),
                )
                db.executemany(
                    "insert or replace into rejected values (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            cut.operation,
                            place,
                            why.reason,
                            why.field,
                            entry.text,
                            entry.attempts,
                            entry.unsure,
                        )
                        for place, why in entry.rejected.items()
                    ],
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction. Writing and checkpointing run on separate threads."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                # With a full disk, SQLite may already have rolled back.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def unfolded(self, limit: int) -> list[tuple[int, Range]]:
        """Return up to `limit` delivered ranges that are not in the state yet, in spool order."""
        rows = self._rows(
            "select rowid, operation, first, last from answered where folded = 0 and outcome = ? "
            "order by rowid limit ?",
            DELIVERED,
            limit + len(self._folded),
        )
        return [(rowid, Range(*cut)) for rowid, *cut in rows if rowid not in self._folded][:limit]

    def rejections(self, cut: Range) -> dict[int, Refusal]:
        """Return the rejected rows of a range, by position."""
        rows = self._rows(
            "select place, reason, field, answer, attempts, unsure from rejected "
            "where operation = ? and place >= ? and place < ?",
            cut.operation,
            cut.first,
            cut.last,
        )
        return {place: Refusal(*rest) for place, *rest in rows}

    def mark_folded(self, rowids: Iterable[int]) -> None:
        """Mark delivered ranges as merged into the state. With a full disk, only this process remembers that:
        merging twice has no effect."""
        marked = [(rowid,) for rowid in rowids]
        try:
            with self._transaction() as db:
                db.executemany("update answered set folded = 1 where rowid = ?", marked)
        except sqlite3.Error as error:
            if not may_pass(error):
                raise
            self._folded.update(rowid for (rowid,) in marked)

    def unknown(self) -> list[Range]:
        """Return the ranges that were sent without a response: their outcome is unknown."""
        sent = self._rows("select operation, first, last from sent order by operation, first")
        answered = self._covered("select operation, first, last from answered order by operation, first")
        return [
            Range(operation, start, end)
            for operation, first, last in sent
            for start, end in _minus((first, last), answered.get(operation, []))
        ]

    def aborted(self, rows: Mapping[str, int]) -> list[Range]:
        """Return the ranges of the spool (`rows` by operation) that were not attempted, or never arrived."""
        attempted = self._covered(
            "select operation, first, last from answered where outcome = 'delivered' order by first"
        )
        for cut in self.unknown():
            attempted.setdefault(cut.operation, []).append((cut.first, cut.last))
        return [
            Range(operation, start, end)
            for operation, total in rows.items()
            for start, end in _minus((0, total), sorted(attempted.get(operation, [])))
        ]

    def _covered(self, query: str) -> dict[str, list[tuple[int, int]]]:
        covered: dict[str, list[tuple[int, int]]] = {}
        for operation, first, last in self._rows(query):
            parts = covered.setdefault(operation, [])
            if parts and first <= parts[-1][1]:
                # Joined, because otherwise the ranges of all requests are scanned for each request.
                parts[-1] = (parts[-1][0], max(parts[-1][1], last))
            else:
                parts.append((first, last))
        return covered

    def has_rejections(self) -> bool:
        """Whether any record was rejected."""
        return bool(self._rows("select 1 from rejected limit 1"))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count records by outcome and operation: {'delivered': {'add': 3}, 'rejected': {}, 'unknown':
        {}}."""
        rejected = dict(self._rows("select operation, count(*) from rejected group by 1"))
        answered = self._rows(
            "select operation, sum(last - first) from answered where outcome = ? group by 1", DELIVERED
        )
        delivered = {operation: total - rejected.get(operation, 0) for operation, total in answered}
        unknown: dict[str, int] = {}
        for cut in self.unknown():
            unknown[cut.operation] = unknown.get(cut.operation, 0) + cut.last - cut.first
        return {"delivered": delivered, "rejected": rejected, "unknown": unknown}

    def answers(self) -> int:
        """Count the rows whose response is not in the state yet."""
        ((rows,),) = self._rows(
            "select coalesce(sum(last - first), 0) from answered where folded = 0 and outcome = ?", DELIVERED
        )
        return int(rows)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _minus(whole: tuple[int, int], parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pieces of `whole` that no part covers; parts are sorted and do not overlap."""
    pieces = []
    start, end = whole
    for place in range(bisect_right(parts, start, key=itemgetter(1)), len(parts)):
        first, last = parts[place]
        if first >= end:
            break
        if first > start:
            pieces.append((start, first))
        start = max(start, last)
    if start < end:
        pieces.append((start, end))
    return pieces
