"""Delivery: batches in flight at once, each answer journalled before the next batch takes its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from revetl.destinations.base import Destination, Records, Refused, Rejection, Result, Verdict
from revetl.errors import DestinationRefused, Locked
from revetl.sync.batches import Cut, begun, cut_batches
from revetl.sync.conversing import converse
from revetl.sync.journal import DELIVERED, UNSENT, Answer, Journal, Range
from revetl.sync.shaping import Shaping, records_of
from revetl.sync.spool import OPERATIONS, Spool
from revetl.transport import GaveUp, NotAccepted, Transport

_RECORD_ATTEMPTS = 3
_GRACE_SECONDS = 10.0
_TICK_SECONDS = 0.25
_ANSWER_EXCERPT = 1_000
_ADJUSTED_NAMES = 100


@dataclass(frozen=True)
class Said:
    """What a destination said of a batch: its result, the text of the answer where something was refused, and
    whether an earlier attempt may have been applied all the same."""

    result: Result = field(default_factory=Result)
    text: str | None = None
    unsure: bool = False


@dataclass
class Delivery:
    """One run's way through its spool. `on_progress` is told how many records got an answer; `on_tick` is
    awaited now and then, so that the state can follow the journal; `may_send` is whether the run has its
    lease, asked before every batch. `ends_whole`: the destination is to be told of the end though nobody is
    sent."""

    destination: Destination
    mode: str
    whole: Records
    spool: Spool
    journal: Journal
    shaping: Shaping
    fields: Mapping[str, str]
    on_progress: Callable[[int], None]
    on_tick: Callable[[], Awaitable[None]]
    may_send: Callable[[], bool]
    ends_whole: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    error: DestinationRefused | Locked | None = None
    adjusted: Counter[str] = field(default_factory=Counter)
    """How often a field was changed so that the destination takes it, by `FIELD: WHAT WAS DONE`."""
    _cutting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Deliver every operation in turn. Raises DestinationRefused when the destination ended it, Locked
        when another run took the lease; what was acknowledged until then is in the journal. Ends early when
        `stop` is set."""
        async with Transport(self.destination) as transport:
            has_records = any(self.spool.rows(operation) for operation in OPERATIONS)
            if has_records or self.ends_whole:
                await self._prepare(transport)
            for operation in OPERATIONS:
                # All removes are acknowledged before the first update goes out, and so on.
                await self._deliver(transport, operation)
                if self.stop.is_set() or self.error is not None:
                    break
            else:
                if has_records or self.ends_whole:
                    await self._finish(transport)
        if self.error is not None:
            raise self.error

    async def _prepare(self, transport: Transport) -> None:
        """Find out what has to be known of the destination before anything is sent."""
        try:
            ended = await converse(transport, self.destination.prepare(self.mode, self.whole, self.fields))
        except (Refused, NotAccepted) as error:
            raise DestinationRefused(transport.redact(str(error))) from None
        self.whole = ended.value

    async def _finish(self, transport: Transport) -> None:
        """Say what is to be said when every record was answered."""
        counts = await asyncio.to_thread(self.journal.counts)
        try:
            await converse(transport, self.destination.finish(self.whole, counts["delivered"]))
        except (Refused, NotAccepted) as error:
            raise DestinationRefused(transport.redact(str(error))) from None

    async def _deliver(self, transport: Transport, operation: str) -> None:
        cuts = self._cuts(operation)
        pending = workers = {
            asyncio.create_task(self._work(transport, cuts)) for _ in range(self.destination.max_in_flight)
        }
        try:
            while pending and not self.stop.is_set():
                _, pending = await asyncio.wait(pending, timeout=_TICK_SECONDS)
                await self._tick()
            if pending:
                # What is in flight may still be answered; what waits to be sent again is not worth it.
                transport.halt()
                await asyncio.wait(pending, timeout=_GRACE_SECONDS)
        finally:
            for worker in workers:
                worker.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _tick(self) -> None:
        try:
            await self.on_tick()
        except Locked as lost:
            self._end(lost)

    def _end(self, error: DestinationRefused | Locked) -> None:
        self.error = self.error or error
        self.stop.set()

    def _cuts(self, operation: str) -> Iterator[Cut]:
        source = (
            (place, records_of(batch, self.shaping, operation))
            for place, batch in self.spool.batches(operation)
        )
        whole = replace(self.whole, operation=operation)
        return cut_batches(self.destination, self.mode, whole, source, self._count_adjusted)

    def _count_adjusted(self, name: str, how: str) -> None:
        key = f"{name}: {how}"
        if key not in self.adjusted and len(self.adjusted) >= _ADJUSTED_NAMES:
            # The names are whatever was sent.
            key = f"other fields: {how}"
        self.adjusted[key] += 1

    async def _work(self, transport: Transport, cuts: Iterator[Cut]) -> None:
        while (cut := await self._next(cuts)) is not None:
            while not self.may_send() and not self.stop.is_set():  # noqa: ASYNC110  a clock has no event
                await asyncio.sleep(_TICK_SECONDS)
            if self.stop.is_set():
                return
            sent = Range(cut.records.operation, cut.place, cut.end)
            try:
                if cut.later is not None:
                    await self._answer(cut, Said(), 1, outcome=UNSENT)
                    continue
                if cut.request is not None:
                    await self.journal.write(sent)
                await self._send(transport, cut, 1)
            except GaveUp as error:
                if self.stop.is_set():
                    return
                # One batch that cannot be delivered keeps no other from it, until nothing gets through.
                self.error = self.error or error
                if transport.circuit_open:
                    self._end(error)
            except DestinationRefused as error:
                self._end(error)

    async def _next(self, cuts: Iterator[Cut]) -> Cut | None:
        if self.shaping.function is None:
            return next(cuts, None)
        # A function takes its time, in which answers come in.
        async with self._cutting:
            return await asyncio.to_thread(next, cuts, None)

    async def _send(self, transport: Transport, cut: Cut, attempt: int, *, unsure: bool = False) -> None:
        """Send a batch, or its parts, until every record has an answer in the journal. `unsure`: an earlier
        attempt may have been applied, whatever is answered now."""
        try:
            said = await self._converse(transport, cut)
        except NotAccepted as refusal:
            await self._divide(transport, cut, refusal, attempt, unsure=unsure or refusal.maybe_applied)
            return
        except DestinationRefused as error:
            if not unsure and (not isinstance(error, GaveUp) or error.surely_unsent):
                # An unknown outcome is what a range without an answer has.
                await self._answer(cut, Said(), attempt, outcome=UNSENT)
            raise
        said = replace(said, unsure=said.unsure or unsure)
        result = said.result
        again = sorted(result.retry)
        if not again:
            await self._answer(cut, said, attempt)
            return
        if attempt >= _RECORD_ATTEMPTS:
            rejected = Result(rejected={**result.rejected, **result.retry})
            await self._answer(cut, replace(said, result=rejected), attempt)
            return
        for first, last in _runs(cut.size, again):
            piece = cut.part(first, last)
            if first in result.retry:
                await self._send(transport, self._begun(piece), attempt + 1, unsure=said.unsure)
            else:
                part = Result({i - first: why for i, why in result.rejected.items() if first <= i < last})
                await self._answer(piece, replace(said, result=part), attempt)

    async def _converse(self, transport: Transport, cut: Cut) -> Said:
        """Run a flow: its requests out, the responses in."""
        if cut.result is not None:
            return Said(cut.by_place(cut.result))
        assert cut.flow is not None
        try:
            ended = await converse(transport, cut.flow, cut.request)
        except Refused as error:
            raise DestinationRefused(transport.redact(str(error))) from None
        refused = ended.value.rejected or ended.value.retry
        answer = ended.response.text if refused and ended.response is not None else None
        text = None if answer is None else transport.redact(answer)[:_ANSWER_EXCERPT]
        return Said(cut.by_place(ended.value), text, ended.unsure)

    async def _divide(
        self, transport: Transport, cut: Cut, refusal: NotAccepted, attempt: int, *, unsure: bool
    ) -> None:
        if not cut.divisible:
            reason = refusal.reason
            if refusal.verdict is Verdict.SPLIT:
                reason = f"too large even alone: {reason}"
            refused = cut.by_place(Result(rejected={0: reason}))
            await self._answer(cut, Said(refused, refusal.reason[:_ANSWER_EXCERPT], unsure), attempt)
            return
        middle = cut.of[len(cut.of) // 2]
        # Between two places: not before the first that has a record.
        middle = middle if middle > cut.of[0] else next(place for place in cut.of if place > middle)
        for first, last in ((0, middle), (middle, cut.size)):
            await self._send(transport, self._begun(cut.part(first, last)), attempt, unsure=unsure)

    def _begun(self, piece: Cut) -> Cut:
        return begun(self.destination, self.mode, piece)

    async def _answer(self, cut: Cut, said: Said, attempts: int, *, outcome: str = DELIVERED) -> None:
        rejected = {
            cut.place + index: why if isinstance(why, Rejection) else Rejection(why)
            for index, why in said.result.rejected.items()
        }
        answered = Range(cut.records.operation, cut.place, cut.end)
        answer = Answer(answered, outcome, rejected, attempts, said.text, said.unsure)
        writing = asyncio.ensure_future(self.journal.write(answer))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # An answer that came in is not left unwritten.
            await writing
            raise
        if outcome == DELIVERED:
            self.on_progress(cut.size)


def _runs(size: int, marked: list[int]) -> list[tuple[int, int]]:
    """The indexes 0..size cut where being marked begins or ends."""
    inside = set(marked)
    edges = [0, *(i for i in range(1, size) if (i in inside) != (i - 1 in inside)), size]
    return list(pairwise(edges))
