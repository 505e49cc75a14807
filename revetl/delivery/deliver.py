"""Deliver batches concurrently; each response is in the write-ahead log before the next batch is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import httpx
import pyarrow as pa

from revetl.delivery.batches import PositionedBatch, begun, cut_batches
from revetl.delivery.exchange import Exchange
from revetl.delivery.flow_runner import UnreadableAnswer, converse
from revetl.delivery.http import GaveUp, NotAccepted, Transport
from revetl.delivery.journal import (
    DELIVERED,
    UNSENT,
    Journal,
    Range,
    RangeOutcome,
)
from revetl.delivery.refusals import (
    Refusals,
    RefusedByAll,
    halves,
    probing,
)
from revetl.delivery.serializer import Serializer, records_of
from revetl.delivery.spool import OPERATIONS, Spool
from revetl.delivery.transports import place_of
from revetl.destinations.base.addresses import shown_address
from revetl.destinations.base.destination import (
    Destination,
    Disposition,
    Refused,
    Rejection,
    Result,
)
from revetl.destinations.base.flow import AudienceMissing
from revetl.destinations.base.records import SyncContext, is_for_now
from revetl.errors import DestinationRefused, DiskError, Locked

_RECORD_ATTEMPTS = 4
_AGAIN_SECONDS = 0.5
_GRACE_SECONDS = 10.0
_TICK_SECONDS = 0.25
_ANSWER_EXCERPT = 1_000
_KEPT_ANSWERS = 50
_ADJUSTED_NAMES = 100


@dataclass(frozen=True)
class BatchResponse:
    """A destination's response to a batch: the result, the response text if records were rejected, and
    whether an earlier attempt may have been applied anyway."""

    result: Result = field(default_factory=Result)
    text: str | None = None
    unsure: bool = False


@dataclass
class Delivery:
    """Delivers the spool of one run.

    `on_progress` is called with the number of answered records, `on_wait` with the reason of a pause.
    `on_tick` is awaited regularly, to write checkpoints. `may_send` returns whether the run still has its
    lease, and is called before every batch. `ends_whole`: complete the full snapshot at the destination even
    if no records are sent. With `lanes`, each of these ranges of the spool is delivered in order, one batch
    at a time, and all of them concurrently. `audience_before` is the id of the audience in the state.
    `answers`, if set, collects the responses."""

    destination: Destination
    mode: str
    context: SyncContext
    spool: Spool
    journal: Journal
    shaping: Serializer
    fields: Mapping[str, str]
    on_progress: Callable[[int], None]
    on_wait: Callable[[str], None]
    on_tick: Callable[[], Awaitable[None]]
    may_send: Callable[[], bool]
    ends_whole: bool = False
    lanes: Sequence[Range] = ()
    audience_before: str | None = None
    answers: list[Exchange] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    error: DestinationRefused | DiskError | Locked | None = None
    refusals: Refusals = field(default_factory=Refusals)
    adjusted: Counter[str] = field(default_factory=Counter)
    """How often a field was changed to fit the destination, by `FIELD: CHANGE`."""
    _cutting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Deliver every operation in turn; ends early when `stop` is set.

        Raises DestinationRefused when the destination refuses the run, Locked when another run took the
        lease, and DiskError when the write-ahead log or the spool fails; everything acknowledged until then
        is in the log. Raises AudienceMissing, before anything is sent, when the audience in the state no
        longer exists at the destination."""
        async with Transport(self.destination, self.on_wait) as transport:
            if self.answers is not None:
                transport.on_answer = partial(self._keep_answer, transport, self.answers)
            has_records = any(self.spool.rows(operation) for operation in OPERATIONS)
            if has_records or self.ends_whole:
                await self._prepare(transport)
            for operation in OPERATIONS:
                # All removes are acknowledged before the first update is sent, and so on.
                await self._deliver(transport, operation)
                if self.stop.is_set() or self.error is not None:
                    break
            await self._settle_held()
            if not (self.stop.is_set() or self.error is not None) and (has_records or self.ends_whole):
                await self._finish(transport)
        if self.error is not None:
            raise self.error

    def _keep_answer(
        self, transport: Transport, answers: list[Exchange], request: httpx.Request, response: httpx.Response
    ) -> None:
        shown = shown_address(request.url, self.destination.filled_in)
        body = transport.excerpt(response.text, _ANSWER_EXCERPT)
        answers.append(Exchange(request.method, transport.redact(shown), response.status_code, body))
        del answers[:-_KEPT_ANSWERS]

    async def _prepare(self, transport: Transport) -> None:
        """Run the requests that the connector needs before it sends records."""
        try:
            ended = await converse(transport, self.destination.prepare(self.mode, self.context, self.fields))
        except (Refused, NotAccepted) as error:
            raise DestinationRefused(transport.redact(str(error))) from None
        self.context = ended.value
        found, before = self.context.audience_id, self.audience_before
        is_named = self.destination.audience_of(self.context.audience) is not None
        if found and before and found != before and not is_named:
            # The audience was created again with the same name.
            raise AudienceMissing(self.context.audience)

    async def _finish(self, transport: Transport) -> None:
        """Run the requests that end a run, once every record has a response."""
        counts = await asyncio.to_thread(self.journal.counts)
        try:
            await converse(transport, self.destination.finish(self.context, counts["delivered"]))
        except (Refused, NotAccepted) as error:
            raise DestinationRefused(transport.redact(str(error))) from None

    async def _deliver(self, transport: Transport, operation: str) -> None:
        pending = workers = {
            asyncio.create_task(self._work(transport, cuts)) for cuts in self._queues(operation)
        }
        try:
            while pending and not self.stop.is_set():
                _, pending = await asyncio.wait(pending, timeout=_TICK_SECONDS)
                await self._tick()
            if pending:
                # Requests in flight may still get a response; retries are not worth waiting for.
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

    def _end(self, error: DestinationRefused | DiskError | Locked) -> None:
        self.error = self.error or error
        self.stop.set()

    def _queues(self, operation: str) -> list[Iterator[PositionedBatch]]:
        """The batches of an operation for each worker, which share them where there are no lanes."""
        if self.lanes:
            lanes = [lane for lane in self.lanes if lane.operation == operation]
            return [self._cuts(operation, _placed(self.spool.read([lane]))) for lane in lanes]
        return [self._cuts(operation, self.spool.batches(operation))] * self.destination.max_in_flight

    def _cuts(
        self, operation: str, batches: Iterator[tuple[int, pa.RecordBatch]]
    ) -> Iterator[PositionedBatch]:
        source = ((place, records_of(batch, self.shaping, operation)) for place, batch in batches)
        context = replace(self.context, operation=operation)
        return cut_batches(self.destination, self.mode, context, source, self._count_adjusted)

    def _count_adjusted(self, name: str, how: str) -> None:
        key = f"{name}: {how}"
        if key not in self.adjusted and len(self.adjusted) >= _ADJUSTED_NAMES:
            # Field names may come from event data, so their number has no limit.
            key = f"other fields: {how}"
        self.adjusted[key] += 1

    async def _work(self, transport: Transport, cuts: Iterator[PositionedBatch]) -> None:
        while (cut := await self._next(cuts)) is not None:
            while not self.may_send() and not self.stop.is_set():  # noqa: ASYNC110  a clock has no event
                await asyncio.sleep(_TICK_SECONDS)
            if self.stop.is_set():
                return
            sent = Range(cut.records.operation, cut.place, cut.end)
            try:
                if cut.later is not None:
                    await self._answer(cut, BatchResponse(), 1, outcome=UNSENT)
                    continue
                if cut.request is not None:
                    await self.journal.write(sent)
                await self._send(transport, cut, 1)
            except GaveUp as error:
                if self.stop.is_set():
                    return
                # A batch that cannot be delivered doesn't block others, until nothing gets through.
                self.error = self.error or error
                if transport.circuit_open:
                    self._end(error)
                if self.lanes:
                    # What follows in a lane is not delivered before it.
                    return
            except (DestinationRefused, DiskError) as error:
                self._end(error)

    async def _next(self, cuts: Iterator[PositionedBatch]) -> PositionedBatch | None:
        if self.shaping.function is None:
            return next(cuts, None)
        # A user function may take long; responses arrive meanwhile.
        async with self._cutting:
            return await asyncio.to_thread(next, cuts, None)

    async def _send(
        self, transport: Transport, cut: PositionedBatch, attempt: int, *, unsure: bool = False
    ) -> None:
        """Send a batch, or its parts, until every record has an outcome in the write-ahead log. `unsure`: an
        earlier attempt may have been applied, whatever the response is now."""
        try:
            said = await self._converse(transport, cut)
        except NotAccepted as refusal:
            unsure |= refusal.maybe_applied
            if (words := self.refusals.of_all()) is not None:
                await self._leave(cut, attempt, unsure=unsure)
                raise self._refused_by_all(words) from None
            await self._divide(transport, cut, refusal, attempt, unsure=unsure)
            return
        except DestinationRefused as error:
            is_unknown = isinstance(error, UnreadableAnswer) or (
                isinstance(error, GaveUp) and not error.surely_unsent
            )
            await self._leave(cut, attempt, unsure=unsure or is_unknown)
            raise
        said = replace(said, unsure=said.unsure or unsure)
        result = said.result
        again = sorted(result.retry)
        if not again:
            await self._answer(cut, said, attempt)
            return
        runs = _runs(cut.size, again)
        for first, last in runs:
            if first not in result.retry:
                part = Result({i - first: why for i, why in result.rejected.items() if first <= i < last})
                await self._answer(cut.part(first, last), replace(said, result=part), attempt)
        if attempt < _RECORD_ATTEMPTS:
            if any(is_for_now(why) for why in result.retry.values()):
                await transport.sleep(_AGAIN_SECONDS * 2 ** (attempt - 1))
            pieces = [cut.part(first, last) for first, last in runs if first in result.retry]
            await self._send_each(transport, pieces, attempt + 1, unsure=said.unsure)
            return
        await self._give_up_on(cut, said, attempt)

    async def _send_each(
        self, transport: Transport, pieces: list[PositionedBatch], attempt: int, *, unsure: bool
    ) -> None:
        """Send pieces in turn; if one ends the run, the rest is left to the next run."""
        left = list(pieces)
        while left:
            piece = left.pop(0)
            try:
                await self._send(transport, self._begun(piece), attempt, unsure=unsure)
            except DestinationRefused:
                for each in left:
                    await self._leave(each, attempt, unsure=unsure)
                raise

    async def _leave(self, cut: PositionedBatch, attempt: int, *, unsure: bool) -> None:
        """Leave a batch to the next run. A range without a response has an unknown outcome."""
        if not unsure:
            await self._answer(cut, BatchResponse(), attempt, outcome=UNSENT)

    async def _give_up_on(self, cut: PositionedBatch, said: BatchResponse, attempt: int) -> None:
        """Give up on records whose retries are used up: reject them, or leave them to the next run if the
        destination was only busy."""
        retry = said.result.retry
        left = sorted(at for at, why in retry.items() if is_for_now(why))
        for at in sorted(retry.keys() - set(left)):
            part = replace(said, result=Result({0: retry[at]}))
            await self._answer(cut.part(at, at + 1), part, attempt)
        for at in left:
            await self._leave(cut.part(at, at + 1), attempt, unsure=said.unsure)
        if left:
            why = retry[left[0]]
            raise GaveUp(
                f"{self._place} temporarily refused {len(left):,} records, after {attempt} attempts: "
                f"{why.reason if isinstance(why, Rejection) else why}. The next run sends them again.",
                surely_unsent=not said.unsure,
            )

    async def _converse(self, transport: Transport, cut: PositionedBatch) -> BatchResponse:
        """Run a flow: send its requests, and pass the responses to it."""
        if cut.result is not None:
            return BatchResponse(cut.by_place(cut.result))
        assert cut.flow is not None
        try:
            return await self._in_turn(transport, cut)
        except RefusedByAll:
            raise self._refused_by_all(str(self.refusals.of_all())) from None

    async def _in_turn(self, transport: Transport, cut: PositionedBatch) -> BatchResponse:
        assert cut.flow is not None
        async with self.refusals.turn():
            try:
                ended = await converse(transport, cut.flow, cut.request)
            except Refused as error:
                kind = UnreadableAnswer if error.partly else DestinationRefused
                raise kind(transport.redact(str(error))) from None
            except NotAccepted as refusal:
                if refusal.verdict is Disposition.BISECT:
                    self.refusals.note_whole(cut, refusal.reason)
                raise
            self._weigh(cut, ended.value)
        refused = ended.value.rejected or ended.value.retry
        answer = ended.response.text if refused and ended.response is not None else None
        text = None if answer is None else transport.redact(answer)[:_ANSWER_EXCERPT]
        return BatchResponse(cut.by_place(ended.value), text, ended.unsure)

    async def _divide(
        self, transport: Transport, cut: PositionedBatch, refusal: NotAccepted, attempt: int, *, unsure: bool
    ) -> None:
        if not cut.divisible:
            reason = refusal.reason
            if refusal.verdict is Disposition.SPLIT:
                reason = f"the record alone is too large: {reason}"
            refused = cut.by_place(Result(rejected={0: reason}))
            await self._answer(cut, BatchResponse(refused, refusal.reason[:_ANSWER_EXCERPT], unsure), attempt)
            return
        is_probing = self.refusals.suspicious and refusal.verdict is Disposition.BISECT
        pieces = [cut.part(*piece) for piece in (probing(cut) if is_probing else halves(cut))]
        await self._send_each(transport, pieces, attempt, unsure=unsure)

    def _begun(self, piece: PositionedBatch) -> PositionedBatch:
        return begun(self.destination, self.mode, piece)

    async def _answer(
        self, cut: PositionedBatch, said: BatchResponse, attempts: int, *, outcome: str = DELIVERED
    ) -> None:
        rejected = {
            cut.place + index: why if isinstance(why, Rejection) else Rejection(why)
            for index, why in said.result.rejected.items()
        }
        answered = Range(cut.records.operation, cut.place, cut.end)
        answer = RangeOutcome(answered, outcome, rejected, attempts, said.text, said.unsure)
        if outcome == DELIVERED:
            own = [why for at, why in rejected.items() if at - cut.place not in cut.refused]
            if any(why.about == "record" for why in own) and self.refusals.hold(answer):
                if (words := self.refusals.of_all()) is not None:
                    raise self._refused_by_all(words)
                return
            await self._release()
        await self._write(answer)
        if outcome == DELIVERED:
            self.on_progress(cut.size)

    async def _write(self, answer: RangeOutcome) -> None:
        writing = asyncio.ensure_future(self.journal.write(answer))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # A response that arrived is always written.
            await writing
            raise

    def _weigh(self, cut: PositionedBatch, result: Result) -> None:
        """Record the rejections of a batch, and whether any record was accepted."""
        if self.refusals.accepted:
            return
        refused = cut.by_place(result)
        own = {
            at: why if isinstance(why, Rejection) else Rejection(why)
            for at, why in refused.rejected.items()
            if at not in cut.refused
        }
        if set(cut.of) - own.keys() - refused.retry.keys() - cut.refused.keys():
            self.refusals.accepted = True
        elif not self.refusals.accepted:
            self.refusals.note(cut, own.items())

    async def _release(self) -> None:
        """Write the deferred rejections once a record was accepted."""
        while self.refusals.accepted and self.refusals.held:
            answer = self.refusals.held.pop(0)
            await self._write(answer)
            self.on_progress(answer.range.last - answer.range.first)

    async def _settle_held(self) -> None:
        """Decide about rejections that are still deferred at the end: no record was accepted in the run."""
        held = self.refusals.held
        if not held:
            return
        if self.error is None and not self.stop.is_set():
            if (words := self.refusals.of_all(nothing_left=True)) is None:
                self.refusals.accepted = True
                await self._release()
                return
            self.error = self._refused_by_all(words)
        while held:
            answer = held.pop(0)
            if not answer.unsure:
                await self._write(replace(answer, outcome=UNSENT, rejected={}, text=None))

    def _refused_by_all(self, words: str) -> DestinationRefused:
        return DestinationRefused(
            f"{self._place} gave the same error for {words}. The cause is probably not in the records, so "
            "none counts as rejected. Fix it there, or exclude those records, and run the sync again."
        )

    @property
    def _place(self) -> str:
        return place_of(httpx.URL(self.destination.base_url))


def _placed(read: Iterator[tuple[Range, pa.RecordBatch]]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches, each with the place of its first record."""
    return ((cut.first, batch) for cut, batch in read)


def _runs(size: int, marked: list[int]) -> list[tuple[int, int]]:
    """Split the indexes 0..size into runs of marked and unmarked ones."""
    inside = set(marked)
    edges = [0, *(i for i in range(1, size) if (i in inside) != (i - 1 in inside)), size]
    return list(pairwise(edges))
