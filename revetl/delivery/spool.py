"""The spool: the changes of a run on this machine's disk, in one Parquet file per operation.

The warehouse connection is closed during delivery, and memory use is one batch per request in flight,
whatever the number of changes.
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from revetl.delivery.journal import Range

OPERATIONS = ("remove", "update", "add")
"""In order of delivery: removes come first, because another member may have the identifier by now."""

FORGET = "forget"
ROW_GROUP = 10_000
GROUP_BYTES = 8_000_000

COLUMNS = (
    "operation",
    "key",
    "row_hash",
    "identifiers",
    "fields",
    "origin",
    "cause",
    "caused_at",
    "invalid",
)


@cache
def schema() -> pa.Schema:
    """Return the schema of COLUMNS."""
    types: dict[str, pa.DataType] = {"row_hash": pa.int64(), "caused_at": pa.timestamp("us")}
    return pa.schema({name: types.get(name, pa.string()) for name in COLUMNS})


_REPEATED: Any = ["operation", "origin", "cause"]
"""Columns with few distinct values. The others have no dictionary, so that file sizes show memory sizes."""


@dataclass(frozen=True)
class Spool:
    """The spool of one run, in `folder`."""

    folder: Path

    def write(self, operation: str, batches: Iterable[pa.RecordBatch]) -> int:
        """Write an operation's records, in COLUMNS, and return their number."""
        import pyarrow.parquet as pq

        rows = 0
        partial = self._path(operation).with_suffix(".partial")
        with pq.ParquetWriter(
            partial, schema(), compression="zstd", use_dictionary=_REPEATED, write_statistics=False
        ) as writer:
            for batch in batches:
                for group in _grouped(batch.cast(schema())):
                    writer.write_batch(group, row_group_size=ROW_GROUP)
                rows += batch.num_rows
        partial.rename(self._path(operation))
        # Otherwise Arrow keeps unused memory until the run ends.
        pa.default_memory_pool().release_unused()
        return rows

    def rows(self, operation: str) -> int:
        """Return the number of records of an operation."""
        import pyarrow.parquet as pq

        path = self._path(operation)
        return int(pq.read_metadata(path).num_rows) if path.exists() else 0

    def batches(self, operation: str) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the records of an operation in order, with the position of each batch's first record."""
        import pyarrow.parquet as pq

        if not self._path(operation).exists():
            return
        place = 0
        # Pre-buffering would load the whole file.
        with pq.ParquetFile(self._path(operation), pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                for batch in file.read_row_group(group).to_batches():
                    yield place, batch
                    place += batch.num_rows

    def read(
        self, cuts: list[Range], columns: Sequence[str] = COLUMNS
    ) -> Iterator[tuple[Range, pa.RecordBatch]]:
        """Yield columns of the records in ranges, each batch with its range or part of one; each row group is
        read once."""
        import pyarrow.parquet as pq

        for operation in {cut.operation: None for cut in cuts}:
            wanted = sorted((cut for cut in cuts if cut.operation == operation), key=lambda cut: cut.first)
            with pq.ParquetFile(self._path(operation), pre_buffer=False) as file:
                start = 0
                for group in range(file.num_row_groups):
                    end = start + file.metadata.row_group(group).num_rows
                    inside = [cut for cut in wanted if cut.first < end and cut.last > start]
                    if inside:
                        rows = file.read_row_group(group, [*columns]).combine_chunks()
                        for cut in inside:
                            first, last = max(cut.first, start), min(cut.last, end)
                            for batch in rows.slice(first - start, last - first).to_batches():
                                yield Range(operation, first, last), batch
                    start = end

    def pieces(self, cuts: Iterable[Range], rows: int, size: int) -> Iterator[tuple[int, Range, float]]:
        """Split ranges, in order, into pieces of at most `rows` rows and about `size` bytes (estimated from
        the mean of the row group): yield the index of the range, the piece, and its bytes. A single record
        can be larger."""
        groups: dict[str, list[tuple[int, int, float]]] = {}
        for at, cut in enumerate(cuts):
            if cut.operation not in groups:
                groups[cut.operation] = list(self._groups(cut.operation))
            of = groups[cut.operation]
            first, taken = cut.first, 0.0
            for start, end, each in of[bisect_right(of, cut.first, key=lambda group: group[1]) :]:
                place, last = max(cut.first, start), min(cut.last, end)
                while place < last:
                    most = min(rows - (place - first), int((size - taken) / max(each, 1)))
                    if most <= 0 and place > first:
                        yield at, Range(cut.operation, first, place), taken
                        first, taken = place, 0.0
                        continue
                    step = min(max(most, 1), last - place)
                    place, taken = place + step, taken + step * each
                if end >= cut.last:
                    break
            if first < cut.last:
                yield at, Range(cut.operation, first, cut.last), taken

    def size(self, cuts: Iterable[Range]) -> int:
        """Estimate the bytes of the records in ranges, from the mean of each row group."""
        groups: dict[str, list[tuple[int, int, float]]] = {}
        taken = 0.0
        for cut in cuts:
            if cut.operation not in groups:
                groups[cut.operation] = list(self._groups(cut.operation))
            for start, end, each in groups[cut.operation]:
                taken += max(0, min(cut.last, end) - max(cut.first, start)) * each
        return int(taken)

    def _groups(self, operation: str) -> Iterator[tuple[int, int, float]]:
        """Yield for each row group its first record, the one after its last, and the mean record size."""
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(self._path(operation))
        start = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            end = start + group.num_rows
            yield start, end, group.total_byte_size / max(group.num_rows, 1)
            start = end

    def remove(self) -> None:
        """Delete the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, operation: str) -> Path:
        return self.folder / f"{operation}.parquet"


def _grouped(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Split a batch into row groups of at most GROUP_BYTES, or one record; only one is in memory at a
    time."""
    if batch.nbytes <= GROUP_BYTES:
        yield batch
        return
    import pyarrow.compute as pc

    lengths: Any = pc.binary_length(cast("Any", batch.column("fields")))
    sizes = [size or 0 for size in lengths.to_pylist()]
    first = taken = 0
    for place, size in enumerate(sizes):
        if place > first and taken + size > GROUP_BYTES:
            yield batch.slice(first, place - first)
            first, taken = place, 0
        taken += size
    yield batch.slice(first)
