"""The changes of a run on this machine's disk: one Parquet file an operation.

The warehouse is let go while they are delivered, and memory holds one batch a request in flight, however
many changes there are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from revetl.sync.journal import Range

OPERATIONS = ("remove", "update", "add")
"""In the order they are delivered: who left goes first, for another may hold their identifier by now."""

FORGET = "forget"
ROW_GROUP = 10_000

_COLUMNS: dict[str, pa.DataType] = {
    "operation": pa.string(),
    "key": pa.string(),
    "row_hash": pa.int64(),
    "identifiers": pa.string(),
    "fields": pa.string(),
    "origin": pa.string(),
    "cause": pa.string(),
    "caused_at": pa.timestamp("us"),
    "invalid": pa.string(),
}
SCHEMA = pa.schema(_COLUMNS)


@dataclass(frozen=True)
class Spool:
    """The spool of one run, in `folder`."""

    folder: Path

    def write(self, operation: str, batches: Iterable[pa.RecordBatch]) -> int:
        """Write an operation's records, in SCHEMA's columns, and give their number."""
        rows = 0
        partial = self._path(operation).with_suffix(".partial")
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch.cast(SCHEMA), row_group_size=ROW_GROUP)
                rows += batch.num_rows
        partial.rename(self._path(operation))
        return rows

    def rows(self, operation: str) -> int:
        """How many records an operation has."""
        path = self._path(operation)
        return int(pq.read_metadata(path).num_rows) if path.exists() else 0

    def batches(self, operation: str) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The records of an operation in order, with the place of each batch's first."""
        if not self._path(operation).exists():
            return
        place = 0
        # Buffering ahead would hold the whole file.
        with pq.ParquetFile(self._path(operation), pre_buffer=False) as file:
            for batch in file.iter_batches(ROW_GROUP):
                yield place, batch
                place += batch.num_rows

    def read(self, cuts: list[Range]) -> Iterator[tuple[Range, pa.RecordBatch]]:
        """The records of ranges, each with the (part of the) range that it is; a row group is read once."""
        for operation in {cut.operation: None for cut in cuts}:
            wanted = sorted((cut for cut in cuts if cut.operation == operation), key=lambda cut: cut.first)
            with pq.ParquetFile(self._path(operation), pre_buffer=False) as file:
                start = 0
                for group in range(file.num_row_groups):
                    end = start + file.metadata.row_group(group).num_rows
                    inside = [cut for cut in wanted if cut.first < end and cut.last > start]
                    if inside:
                        rows = file.read_row_group(group).combine_chunks()
                        for cut in inside:
                            first, last = max(cut.first, start), min(cut.last, end)
                            piece = rows.slice(first - start, last - first)
                            for batch in piece.to_batches():
                                yield Range(operation, first, last), _whole(batch)
                    start = end

    def record_bytes(self, operation: str) -> float:
        """The mean size of an operation's records, uncompressed."""
        metadata = pq.read_metadata(self._path(operation))
        groups = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        return sum(groups) / max(metadata.num_rows, 1)

    def remove(self) -> None:
        """Delete the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, operation: str) -> Path:
        return self.folder / f"{operation}.parquet"


def _whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with all columns; of a run by an older version, some are missing."""
    missing = [field for field in SCHEMA if field.name not in batch.schema.names]
    if not missing:
        return batch
    columns = {**dict(zip(batch.schema.names, batch.columns, strict=True))}
    columns |= {field.name: pa.nulls(batch.num_rows, field.type) for field in missing}
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
