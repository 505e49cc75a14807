"""Rows as the bytes of a file: Parquet, CSV, or lines of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from revetl.destinations.base import portable_types
from revetl.destinations.file.arrow import Row, arrow_table

Codec = Literal["none", "gzip", "zstd", "snappy"]

CODECS: dict[str, tuple[Codec, ...]] = {
    "parquet": ("zstd", "snappy", "gzip", "none"),
    "csv": ("none", "gzip", "zstd"),
    "ndjson": ("none", "gzip", "zstd"),
}
"""By format, what it can be compressed by; the first one unless the configuration says else."""

_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_AS_WRITTEN = (portable_types.DATE, portable_types.MOMENT)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Form(NamedTuple):
    """How a file is written: its format, how it is compressed, and of CSV what stands between two values and
    whether a text that a spreadsheet would take for a formula has an apostrophe before it."""

    format: str = "parquet"
    compression: Codec | None = None
    delimiter: str = ","
    escape_formulas: bool = False

    @property
    def codec(self) -> Codec:
        """How it is compressed."""
        return self.compression or CODECS[self.format][0]

    @property
    def suffix(self) -> str:
        """What the name of a file ends with; a Parquet file is compressed within."""
        return f".{self.format}" + ("" if self.format == "parquet" else _SUFFIXES[self.codec])


@dataclass(frozen=True)
class Written:
    """A file's bytes, how many rows it has, and by index why a row is not in it."""

    content: bytes
    rows: int
    refused: Mapping[int, str] = field(default_factory=dict)


def encoded(form: Form, rows: Sequence[Row], types: Mapping[str, str]) -> Written:
    """The rows with the columns in `types` (name to portable type)."""
    if form.format == "ndjson":
        lines = [orjson.dumps({name: row[name] for name in types if name in row}) for row in rows]
        return Written(_compressed(b"".join(line + b"\n" for line in lines), form), len(rows))
    if form.format == "csv":
        # Times stay in the words that they came in.
        types = {name: portable_types.TEXT if kind in _AS_WRITTEN else kind for name, kind in types.items()}
        if form.escape_formulas:
            rows = [{name: _escaped(value) for name, value in row.items()} for row in rows]
    table, refused = arrow_table(rows, types)
    sink = pa.BufferOutputStream()
    if form.format == "parquet":
        pq.write_table(table, sink, compression=form.codec)
        return Written(sink.getvalue().to_pybytes(), table.num_rows, refused)
    pc.write_csv(table, sink, pc.WriteOptions(delimiter=form.delimiter))
    return Written(_compressed(sink.getvalue().to_pybytes(), form), table.num_rows, refused)


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _compressed(content: bytes, form: Form) -> bytes:
    if form.codec == "none":
        return content
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "gzip" if form.codec == "gzip" else "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()
