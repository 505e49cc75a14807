"""What goes into a destination and comes out of it, as values: limits, records, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Batch:
    """The most a request takes: records, bytes of body, bytes of one record's part of it."""

    records: int
    bytes: int | None = None
    record_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """The most a destination takes: `requests` in any `per_seconds`."""

    requests: float
    per_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name the destination knows people by, and the column it is taken from unless a sync says else."""

    name: str
    column: str


class Record(NamedTuple):
    """One person of a batch: the audience's key, what the destination knows them by, and the mapped fields.
    `origin` is the run in which the change was first attempted."""

    key: str
    identifiers: Mapping[str, Any]
    fields: Mapping[str, Any]
    origin: str


@dataclass(frozen=True, slots=True)
class Records:
    """A batch in order, and what it is part of. `operation` is add, update or remove."""

    sync: str
    audience: str
    run_id: str
    operation: str
    records: tuple[Record, ...]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, cut: slice) -> Records:
        return Records(self.sync, self.audience, self.run_id, self.operation, self.records[cut])

    def change_id(self, record: Record) -> str:
        """Names a change and not its attempt: it is the same whenever the change is sent again."""
        return digest(self.sync, self.operation, record.key, record.origin)

    @property
    def batch_id(self) -> str:
        """Names the batch by its changes: the same batch sent again has the id it had."""
        named = "\0".join(f"{record.key}\0{record.origin}" for record in self.records)
        return digest(self.sync, self.operation, named)


def digest(*parts: str) -> str:
    """32 hex digits of the parts in order."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(part.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch: by index of the record, the reason it was rejected, or to be sent again.
    Every other record was accepted."""

    rejected: Mapping[int, str] = field(default_factory=dict)
    retry: Mapping[int, str] = field(default_factory=dict)
