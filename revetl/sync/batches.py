"""Cutting records into batches that fit: by number, and by the bytes of the request they make.

A flow's first request is made without I/O, so a batch is cut by the size its request really has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import httpx
import orjson
import pyarrow as pa

from revetl.destinations.base import Destination, Flow, Record, Records


@dataclass(frozen=True)
class Cut:
    """A batch, the place of its first record in the spool, its flow, and that flow's first request.
    `refused` is why it cannot be sent at all; it is then one record, without flow and request."""

    place: int
    records: Records
    flow: Flow | None = None
    request: httpx.Request | None = None
    refused: str | None = None

    @property
    def end(self) -> int:
        """The place after its last record."""
        return self.place + len(self.records)


def record_of(key: str, identifiers: str, fields: str, origin: str) -> Record:
    """A record of its spooled texts."""
    known = orjson.loads(identifiers)
    if None in known.values():
        known = {name: value for name, value in known.items() if value is not None}
    return Record(key, known, orjson.loads(fields), origin)


def records_of(batch: pa.RecordBatch) -> Iterator[Record]:
    """The records of a spooled batch, in order."""
    columns = (batch.column(name).to_pylist() for name in ("key", "identifiers", "fields", "origin"))
    return map(record_of, *columns)


def cut_batches(
    destination: Destination, mode: str, whole: Records, source: Iterable[tuple[int, Iterable[Record]]]
) -> Iterator[Cut]:
    """Batches of `source` (place of the first record, records) that are within the destination's limits, in
    order. `whole` says what they are part of; its records are not read."""
    limits = destination.limits
    waiting: deque[Record] = deque()
    place = 0

    def next_cut() -> Cut:
        nonlocal place
        taken = [waiting.popleft() for _ in range(min(limits.records, len(waiting)))]
        cut = _fitting(destination, mode, replace(whole, records=tuple(taken)), place)
        waiting.extendleft(reversed(taken[len(cut.records) :]))
        place = cut.end
        return cut

    for first, records in source:
        if not waiting:
            place = first
        for record in records:
            if not record.identifiers:
                while waiting:
                    yield next_cut()
                alone = replace(whole, records=(record,))
                yield Cut(place, alone, refused="it has no identifier the destination knows people by")
                place += 1
                continue
            waiting.append(record)
            if len(waiting) >= 2 * limits.records:
                yield next_cut()
    while waiting:
        yield next_cut()


def _fitting(destination: Destination, mode: str, records: Records, place: int) -> Cut:
    """The longest start of `records`, near enough, whose request is within the limits of bytes."""
    limits = destination.limits
    while True:
        flow = destination.flow(mode, records)
        request = next(flow)
        size, count = len(request.content), len(records)
        most = limits.record_bytes if count == 1 and limits.record_bytes else limits.bytes
        if most is None or size <= most:
            return Cut(place, records, flow, request)
        flow.close()
        if count == 1:
            return Cut(place, records, refused=f"its request has {size} bytes, and {most} are the most there")
        assert limits.bytes is not None
        records = records[: max(1, min(count - 1, count * limits.bytes // size))]
