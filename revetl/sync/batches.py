"""Cutting records into batches that fit: by number, and by the bytes of the request they make.

A flow's first request is made without I/O, so a batch is cut by the size its request really has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import httpx

from revetl.destinations.base import Destination, Flow, Record, Records, Result


@dataclass(frozen=True)
class Cut:
    """A batch, the place of its first record in the spool, and its flow with that flow's first request; or
    the result of what needs no request."""

    place: int
    records: Records
    flow: Flow | None = None
    request: httpx.Request | None = None
    result: Result | None = None

    @property
    def end(self) -> int:
        """The place after its last record."""
        return self.place + len(self.records)


def cut_batches(
    destination: Destination, mode: str, whole: Records, source: Iterable[tuple[int, Iterable[Record]]]
) -> Iterator[Cut]:
    """Batches of `source` (place of the first record, records) that are within the destination's limits, in
    order. `whole` says what they are part of; its records are not read."""
    limits = destination.limits_of(mode)
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
            refused = record.problem or destination.unfit(mode, whole, record)
            if refused is not None:
                while waiting:
                    yield next_cut()
                yield _refused(place, replace(whole, records=(record,)), refused)
                place += 1
                continue
            waiting.append(record)
            if len(waiting) >= 2 * limits.records:
                yield next_cut()
    while waiting:
        yield next_cut()


def begun(destination: Destination, mode: str, records: Records, place: int) -> Cut:
    """A batch with its flow's first step, which makes no connection, and is a request where there is one."""
    flow = destination.flow(mode, records)
    try:
        step = next(flow)
    except StopIteration as end:
        return Cut(place, records, result=end.value)
    assert isinstance(step, httpx.Request)
    return Cut(place, records, flow, step)


def _refused(place: int, records: Records, reason: str) -> Cut:
    return Cut(place, records, result=Result(rejected={0: reason}))


def _fitting(destination: Destination, mode: str, records: Records, place: int) -> Cut:
    """The longest start of `records`, near enough, whose request is within the limits of bytes."""
    limits = destination.limits_of(mode)
    while True:
        cut = begun(destination, mode, records, place)
        if cut.flow is None or cut.request is None:
            return cut
        size, count = len(cut.request.content), len(records)
        most = limits.record_bytes if count == 1 and limits.record_bytes else limits.bytes
        if most is None or size <= most:
            return cut
        cut.flow.close()
        if count == 1:
            return _refused(place, records, f"its request has {size} bytes, and {most} are the most there")
        assert limits.bytes is not None
        records = records[: max(1, min(count - 1, count * limits.bytes // size))]
