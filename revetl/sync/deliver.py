"""Delivery: batches in flight at once, each answer journalled before the next batch takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import orjson

from revetl.destinations.base import Destination, Records, Refused, Result, Verdict
from revetl.errors import DestinationRefused
from revetl.sync.batches import Cut, cut_batches, records_of
from revetl.sync.journal import DELIVERED, UNSENT, Answer, Journal, Range
from revetl.sync.spool import OPERATIONS, Spool
from revetl.transport import GaveUp, NotAccepted, Transport

_RECORD_ATTEMPTS = 3
_GRACE_SECONDS = 10.0
_TICK_SECONDS = 0.25


@dataclass
class Delivery:
    """One run's way through its spool. `on_progress` is told how many records got an answer; `on_tick` is
    awaited now and then, so that the state can follow the journal."""

    destination: Destination
    mode: str
    whole: Records
    spool: Spool
    journal: Journal
    on_progress: Callable[[int], None]
    on_tick: Callable[[], Awaitable[None]]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    error: DestinationRefused | None = None

    async def run(self) -> None:
        """Deliver every operation in turn. Raises DestinationRefused when the destination ended it; what
        was acknowledged until then is in the journal. Ends early when `stop` is set."""
        async with Transport(self.destination) as transport:
            for operation in OPERATIONS:
                # All removes are acknowledged before the first update goes out, and so on.
                await self._deliver(transport, operation)
                if self.stop.is_set():
                    break
        if self.error is not None:
            raise self.error

    async def _deliver(self, transport: Transport, operation: str) -> None:
        cuts = self._cuts(operation)
        pending = workers = {
            asyncio.create_task(self._work(transport, cuts)) for _ in range(self.destination.max_in_flight)
        }
        try:
            while pending and not self.stop.is_set():
                _, pending = await asyncio.wait(pending, timeout=_TICK_SECONDS)
                await self.on_tick()
            if pending:
                # What is in flight may still be answered; what waits to be sent again is not worth it.
                await asyncio.wait(pending, timeout=_GRACE_SECONDS)
        finally:
            for worker in workers:
                worker.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def _cuts(self, operation: str) -> Iterator[Cut]:
        source = ((place, records_of(batch)) for place, batch in self.spool.batches(operation))
        return cut_batches(self.destination, self.mode, replace(self.whole, operation=operation), source)

    async def _work(self, transport: Transport, cuts: Iterator[Cut]) -> None:
        for cut in cuts:
            if self.stop.is_set():
                return
            sent = Range(cut.records.operation, cut.place, cut.end)
            try:
                if cut.refused is None:
                    await self.journal.write(sent)
                await self._send(transport, cut, 1)
            except DestinationRefused as error:
                self.error = self.error or error
                self.stop.set()
                return

    async def _send(self, transport: Transport, cut: Cut, attempt: int) -> None:
        """Send a batch, or its parts, until every record has an answer in the journal."""
        try:
            result = await self._converse(transport, cut)
        except NotAccepted as refusal:
            await self._divide(transport, cut, refusal, attempt)
            return
        except DestinationRefused as error:
            if not isinstance(error, GaveUp) or error.surely_unsent:
                # An unknown outcome is what a range without an answer has.
                await self._answer(cut, Result(), attempt, outcome=UNSENT)
            raise
        again = sorted(result.retry)
        if not again:
            await self._answer(cut, result, attempt)
            return
        if attempt >= _RECORD_ATTEMPTS:
            await self._answer(cut, Result(rejected={**result.rejected, **result.retry}), attempt)
            return
        for first, last in _runs(len(cut.records), again):
            piece = self._piece(cut, first, last)
            if first in result.retry:
                await self._send(transport, piece, attempt + 1)
            else:
                rejected = {i - first: why for i, why in result.rejected.items() if first <= i < last}
                await self._answer(piece, Result(rejected=rejected), attempt)

    async def _converse(self, transport: Transport, cut: Cut) -> Result:
        """Run a flow: its requests out, the responses in."""
        if cut.refused is not None:
            return Result(rejected={0: cut.refused})
        assert cut.flow is not None
        assert cut.request is not None
        request = cut.request
        try:
            while True:
                response = await transport.send(request)
                request = cut.flow.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except Refused as error:
            raise DestinationRefused(transport.redact(str(error))) from None
        except orjson.JSONDecodeError as error:
            raise DestinationRefused(
                f"{request.url.host} answered what is not JSON ({error}). Is the address right?"
            ) from None
        finally:
            cut.flow.close()

    async def _divide(self, transport: Transport, cut: Cut, refusal: NotAccepted, attempt: int) -> None:
        count = len(cut.records)
        if count == 1:
            reason = refusal.reason
            if refusal.verdict is Verdict.SPLIT:
                reason = f"too large even alone: {reason}"
            await self._answer(cut, Result(rejected={0: reason}), attempt)
            return
        for first, last in ((0, count // 2), (count // 2, count)):
            await self._send(transport, self._piece(cut, first, last), attempt)

    def _piece(self, cut: Cut, first: int, last: int) -> Cut:
        records = cut.records[first:last]
        flow = self.destination.flow(self.mode, records)
        return Cut(cut.place + first, records, flow, next(flow))

    async def _answer(self, cut: Cut, result: Result, attempts: int, outcome: str = DELIVERED) -> None:
        rejected = {cut.place + index: reason for index, reason in result.rejected.items()}
        answered = Range(cut.records.operation, cut.place, cut.end)
        writing = asyncio.ensure_future(self.journal.write(Answer(answered, outcome, rejected, attempts)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # An answer that came in is not left unwritten.
            await writing
            raise
        if outcome == DELIVERED:
            self.on_progress(len(cut.records))


def _runs(size: int, marked: list[int]) -> list[tuple[int, int]]:
    """The indexes 0..size cut where being marked begins or ends."""
    inside = set(marked)
    edges = [0, *(i for i in range(1, size) if (i in inside) != (i - 1 in inside)), size]
    return list(pairwise(edges))
