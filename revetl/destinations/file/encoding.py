"""Encodes rows as the bytes of a file: Parquet, CSV, or NDJSON."""

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
"""Supported compression by format; the first one is the default."""

_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_AS_WRITTEN = (portable_types.DATE, portable_types.MOMENT)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Form(NamedTuple):
    """The encoding of a file: format, compression, and for CSV the delimiter and whether texts that a
    spreadsheet would interpret as a formula are prefixed with an apostrophe."""

    format: str = "parquet"
    compression: Codec | None = None
    delimiter: str = ","
    escape_formulas: bool = False

    @property
    def codec(self) -> Codec:
        """Return the compression."""
        return self.compression or CODECS[self.format][0]

    @property
    def suffix(self) -> str:
        """Return the suffix of a file name; Parquet is compressed internally."""
        return f".{self.format}" + ("" if self.format == "parquet" else _SUFFIXES[self.codec])


@dataclass(frozen=True)
class EncodedFile:
    """A file's bytes, its number of rows, and by index why rows were rejected."""

    content: bytes
    rows: int
    refused: Mapping[int, str] = field(default_factory=dict)


def encoded(form: Form, rows: Sequence[Row], types: Mapping[str, str]) -> EncodedFile:
    """Encode rows with the columns in `types` (name to portable type)."""
    if form.format == "ndjson":
        lines = [orjson.dumps({name: row[name] for name in types if name in row}) for row in rows]
        return EncodedFile(_compressed(b"".join(line + b"\n" for line in lines), form), len(rows))
    if form.format == "csv":
        # Keep timestamps in their original notation.
        types = {name: portable_types.TEXT if kind in _AS_WRITTEN else kind for name, kind in types.items()}
        if form.escape_formulas:
            rows = [{name: _escaped(value) for name, value in row.items()} for row in rows]
    table, refused = arrow_table(rows, types)
    sink = pa.BufferOutputStream()
    if form.format == "parquet":
        pq.write_table(table, sink, compression=form.codec)
        return EncodedFile(sink.getvalue().to_pybytes(), table.num_rows, refused)
    pc.write_csv(table, sink, pc.WriteOptions(delimiter=form.delimiter))
    return EncodedFile(_compressed(sink.getvalue().to_pybytes(), form), table.num_rows, refused)


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _compressed(content: bytes, form: Form) -> bytes:
    if form.codec == "none":
        return content
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "gzip" if form.codec == "gzip" else "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()
