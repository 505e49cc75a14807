"""Cut records into batches within the destination's limits: the number of records, and the request's size.

A flow builds its first request without I/O, so batches are cut by the actual size of the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import httpx

from revetl.destinations.base.destination import (
    Destination,
    Flow,
    Record,
    Records,
    Rejection,
    Result,
)
from revetl.destinations.base.records import SyncContext, is_for_now
from revetl.destinations.base.values import converted

Reasons = Mapping[int, str | Rejection]


@dataclass(frozen=True)
class PositionedBatch:
    """A batch, and the `size` spool positions that it covers, from `place` on.

    A position may have no record (it is not sent, or already `refused`), or several: `of` has the position of
    each record, relative to the first. The batch comes with its flow and the flow's first request, or with a
    `result` if no request is needed. `later` is the reason why its only position is left to the next run;
    `origin` the first position of the batch that it is part of."""

    place: int
    size: int
    records: Records
    of: tuple[int, ...]
    refused: Reasons = field(default_factory=dict)
    flow: Flow | None = None
    request: httpx.Request | None = None
    result: Result | None = None
    later: str | None = None
    origin: int | None = None

    @property
    def batch(self) -> int:
        """The first position of the whole batch."""
        return self.place if self.origin is None else self.origin

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.place + self.size

    def by_place(self, result: Result) -> Result:
        """Convert the result of records to the result of their positions. A position is rejected if any of
        its records is. If any of its records is retried, or refused temporarily, all of them are sent
        again."""
        for_now = {at: why for at, why in result.rejected.items() if is_for_now(why)}
        final = {at: why for at, why in result.rejected.items() if at not in for_now}
        rejected = {**{self.of[at]: why for at, why in final.items()}, **self.refused}
        again = {**result.retry, **for_now}
        retry = {self.of[at]: why for at, why in again.items() if self.of[at] not in rejected}
        return Result(rejected, retry)

    def part(self, first: int, last: int) -> PositionedBatch:
        """Return the batch of some of its positions, none of which was sent yet."""
        inside = [at for at, place in enumerate(self.of) if first <= place < last]
        return PositionedBatch(
            self.place + first,
            last - first,
            replace(self.records, records=tuple(self.records.records[at] for at in inside)),
            tuple(self.of[at] - first for at in inside),
            {place - first: why for place, why in self.refused.items() if first <= place < last},
            origin=self.batch,
        )

    @property
    def divisible(self) -> bool:
        """Whether its records belong to several positions."""
        return len(set(self.of)) > 1


def cut_batches(
    destination: Destination,
    mode: str,
    context: SyncContext,
    source: Iterable[tuple[int, Iterable[Record]]],
    on_adjusted: Callable[[str, str], None] = lambda field, how: None,
) -> Iterator[PositionedBatch]:
    """Cut `source` (position of the first record, records) into batches within the destination's limits, in
    order. `context` describes the sync; its records are not used. `on_adjusted` is called for each field that
    was changed to fit the destination, with the change."""
    limits = destination.limits_of(mode)
    kinds = {**destination.kinds_of(mode), **context.kinds}
    adjusts = type(destination).adjusted is not Destination.adjusted
    unfit = _unfit_by(destination, mode, context)
    waiting: deque[tuple[int, Record]] = deque()
    refused: dict[int, str | Rejection] = {}
    made: list[Record | Rejection]
    whys: list[str | Rejection]
    start = seen = 0

    def next_cut() -> PositionedBatch:
        nonlocal start
        taken = [waiting.popleft() for _ in range(min(limits.records, len(waiting)))]
        while waiting and taken and waiting[0][0] == taken[-1][0]:
            # Records made from one record are sent together.
            if taken[0][0] == taken[-1][0]:
                taken.append(waiting.popleft())
            else:
                waiting.appendleft(taken.pop())
        end = waiting[0][0] if waiting else seen
        cut = PositionedBatch(
            start,
            end - start,
            context.batch([record for _, record in taken]),
            tuple([place - start for place, _ in taken]),
            {place - start: refused.pop(place) for place in [*refused] if place < end},
        )
        made = _fitting(destination, mode, cut)
        if made.size < cut.size:
            waiting.extendleft((place, record) for place, record in reversed(taken) if place >= made.end)
            refused.update({start + at: why for at, why in cut.refused.items() if start + at >= made.end})
        start = made.end
        return made

    for first, records in source:
        if seen == start and not waiting:
            start = seen = first
        for record in records:
            place, seen = seen, seen + 1
            if record.later is not None:
                seen = place
                while start < seen:
                    yield next_cut()
                start = seen = place + 1
                yield PositionedBatch(place, 1, context.batch(()), (), later=record.later)
                continue
            if record.instead is None and not kinds and not adjusts:
                if why := record.problem or unfit(record):
                    refused[place] = why
                else:
                    waiting.append((place, record))
                if len(waiting) >= 2 * limits.records or len(refused) >= 2 * limits.records:
                    yield next_cut()
                continue
            made, whys = [], []
            for each in (record,) if record.instead is None else record.instead:
                fitting = converted(each, kinds, destination.cleared) if kinds else each
                if isinstance(fitting, Rejection):
                    whys.append(fitting)
                else:
                    if fitting.problem is None:
                        fitting, changed = destination.adjusted(mode, fitting)
                        for name, how in changed.items():
                            on_adjusted(name, how)
                    if why := fitting.problem or unfit(fitting):
                        whys.append(why)
                made.append(fitting)
            if whys:
                refused[place] = whys[0]
            else:
                waiting += [(place, each) for each in made if isinstance(each, Record)]
            if len(waiting) >= 2 * limits.records or len(refused) >= 2 * limits.records:
                yield next_cut()
    while start < seen:
        yield next_cut()


def _unfit_by(destination: Destination, mode: str, context: SyncContext) -> Callable[[Record], str | None]:
    """Return a function that returns why a record cannot be sent, with its invalid identifiers."""
    kind = type(destination)
    by_names = kind.unidentified is Destination.unidentified
    is_checked = kind.unfit is not Destination.unfit
    told: dict[tuple[str, ...], str | None] = {}

    def unidentified(record: Record) -> str | None:
        if not by_names:
            return destination.unidentified(mode, record)
        # The result only depends on which identifiers are set.
        given = tuple([name for name, value in record.identifiers.items() if value not in (None, "")])
        if given not in told:
            told[given] = destination.unidentified(mode, record)
        return told[given]

    def unfit(record: Record) -> str | None:
        wrong = unidentified(record)
        if wrong is None and is_checked:
            wrong = destination.unfit(mode, context, record)
        if wrong is None or record.invalid is None:
            return wrong
        return f"{wrong}: {record.invalid}"

    return unfit


def begun(destination: Destination, mode: str, cut: PositionedBatch) -> PositionedBatch:
    """Return the batch with the first step of its flow, usually a request; nothing is sent yet."""
    if not cut.records.records:
        return replace(cut, flow=None, request=None, result=Result())
    flow = _flow(destination, mode, cut.records)
    try:
        step = next(flow)
    except StopIteration as end:
        return replace(cut, flow=None, request=None, result=end.value)
    assert isinstance(step, httpx.Request)
    return replace(cut, flow=flow, request=step, result=None)


def _flow(destination: Destination, mode: str, records: Records) -> Flow:
    """Return the flow of records. Records made from one record that exceed the limit of a call are sent in
    several flows, one after the other."""
    most = destination.limits_of(mode).records
    if len(records) <= most:
        return destination.flow(mode, records)
    return _one_after_the_other(destination, mode, records, most)


def _one_after_the_other(destination: Destination, mode: str, records: Records, most: int) -> Flow:
    rejected: dict[int, str | Rejection] = {}
    retry: dict[int, str | Rejection] = {}
    for start in range(0, len(records), most):
        result = yield from destination.flow(mode, records[start : start + most])
        rejected |= {start + at: why for at, why in result.rejected.items()}
        retry |= {start + at: why for at, why in result.retry.items()}
    return Result(rejected, retry)


def _fitting(destination: Destination, mode: str, cut: PositionedBatch) -> PositionedBatch:
    """Return about the longest prefix of a batch whose request is within the size limit."""
    limits = destination.limits_of(mode)
    while True:
        made = begun(destination, mode, cut)
        if made.flow is None or made.request is None:
            return made
        size, count = len(made.request.content), len(cut.records)
        most = limits.record_bytes if count == 1 and limits.record_bytes else limits.bytes
        if most is None or size <= most:
            return made
        made.flow.close()
        if not cut.divisible:
            why = f"its request has {size} bytes; the destination allows {most}"
            return replace(cut, refused={**cut.refused, cut.of[0]: why}, result=Result())
        assert limits.bytes is not None
        at = max(1, min(count - 1, count * limits.bytes // size))
        # Cut between two positions; the first has records.
        end = cut.of[at] if cut.of[at] > cut.of[0] else next(place for place in cut.of if place > cut.of[0])
        cut = cut.part(0, end)
