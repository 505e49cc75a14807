"""Distinguish the rejection of some records from an error that affects all records.

A destination that refuses an account, a list or a field rejects every record for the same reason. These
records must not be written as rejected: they would not be sent again once the cause is fixed. Until a
record is accepted, rejections are therefore deferred, and requests are sent one at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from revetl.delivery.batches import PositionedBatch
from revetl.delivery.journal import RangeOutcome
from revetl.destinations.base.destination import Record, Rejection

FEWEST = 20
"""How many records must be rejected with the same error to conclude that all are."""
PROBES = 9
"""The maximum number of requests to find a record that is accepted."""
_MOST_HELD = 10_000

_QUOTED = re.compile(r"""\\"[^"\\]*\\"|'[^']*'|\u2018[^\u2019]*\u2019|“[^”]*”|`[^`]*`""")
_ADDRESS = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+")
_NAMED = re.compile(r"[\w.+/-]*\d[\w.+/-]*")
_COMPARED = 150


class RefusedByAll(Exception):
    """All records are rejected with the same error: nothing more is sent."""


@dataclass
class _Tally:
    """The rejections with the same error, by batch: the positions of the records, whether the batch was
    rejected as a whole (perhaps because of one record), and the positions of records that were rejected
    individually."""

    example: str
    places: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    whole: set[tuple[str, int]] = field(default_factory=set)
    alone: dict[tuple[str, int], set[int]] = field(default_factory=dict)

    def count(self, *, with_unprobed: bool) -> int:
        """Count the records that were probably rejected individually; 0 if that is uncertain. A batch that
        was rejected as a whole counts if one of its records was also rejected individually or, with
        `with_unprobed`, if one of another batch was."""
        unprobed = self.whole - self.alone.keys()
        witnesses = len(self.whole) + sum(map(len, self.alone.values()))
        if self.whole and (not self.alone or witnesses < 3):
            return 0
        counted = {
            batch: places for batch, places in self.places.items() if with_unprobed or batch not in unprobed
        }
        found = sum(map(len, counted.values()))
        batches = len(counted) + sum(map(len, self.alone.values()))
        return found if found >= FEWEST and batches > 1 else 0


class Refusals:
    """The rejections of one run. `accepted` is whether any record was accepted: then each rejection is
    about its record."""

    def __init__(self) -> None:
        self.accepted = False
        self.held: list[RangeOutcome] = []
        self._tallies: dict[str, _Tally] = {}
        self._sends = 0
        self._in_flight = 0
        self._found: str | None = None
        self._changed = asyncio.Condition()

    @property
    def suspicious(self) -> bool:
        """Whether all records may be rejected for the same cause."""
        return not self.accepted and bool(self._tallies)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn to send: without a wait normally, or when nothing else is in flight if all
        records may be rejected. Rejections noted meanwhile are evaluated at the end. Raises RefusedByAll
        when all are rejected."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.suspicious or self._in_flight == 0)
            if self._found is not None:
                raise RefusedByAll
            self._in_flight += 1
            self._sends += 1
        try:
            yield
        finally:
            async with self._changed:
                self._in_flight -= 1
                if self._in_flight == 0 and self._sends >= PROBES:
                    self._found = self._of_all(with_unprobed=self._sends == PROBES)
                self._changed.notify_all()

    def note_whole(self, cut: PositionedBatch, reason: str) -> None:
        """Record that a batch was rejected as a whole."""
        tally = self._tally(reason, cut.records.records)
        batch = (cut.records.operation, cut.batch)
        places = {cut.place + at for at in cut.of}
        tally.places.setdefault(batch, set()).update(places)
        if cut.divisible:
            tally.whole.add(batch)
        else:
            tally.alone.setdefault(batch, set()).update(places)

    def note(self, cut: PositionedBatch, rejected: Iterable[tuple[int, Rejection]]) -> None:
        """Record that records of a batch were rejected individually. An identifier without a match at the
        destination says nothing about other records."""
        records = {place: self._records_at(cut, place) for place in set(cut.of)}
        for at, why in rejected:
            if why.about == "record" and at in records:
                tally = self._tally(why.reason, records[at])
                batch = (cut.records.operation, cut.batch)
                tally.places.setdefault(batch, set()).add(cut.place + at)

    @staticmethod
    def _records_at(cut: PositionedBatch, place: int) -> tuple[Record, ...]:
        return tuple(record for record, of in zip(cut.records.records, cut.of, strict=True) if of == place)

    def _tally(self, reason: str, records: Iterable[Record]) -> _Tally:
        return self._tallies.setdefault(words_of(reason, records), _Tally(reason))

    def hold(self, answer: RangeOutcome) -> bool:
        """Defer a response with rejections until it is known whether all records are rejected. Return False
        if that is known, or too many are deferred."""
        if self.accepted or len(self.held) >= _MOST_HELD:
            self.accepted = True
            return False
        self.held.append(answer)
        return True

    def of_all(self, *, nothing_left: bool = False) -> str | None:
        """Return the error that affects all records; None if that is not certain, or not yet."""
        if nothing_left and self._found is None:
            self._found = self._of_all(with_unprobed=False)
        return self._found

    def _of_all(self, *, with_unprobed: bool) -> str | None:
        if self.accepted:
            return None
        for tally in self._tallies.values():
            if count := tally.count(with_unprobed=with_unprobed):
                return f"{count:,} records, and accepted none in this run: {tally.example}"
        return None


def words_of(reason: str, records: Iterable[Record] = ()) -> str:
    """Return a reason without names, numbers and quoted values, for comparison."""
    text = reason
    for record in records:
        for value in (record.key, *record.identifiers.values()):
            if isinstance(value, str) and value in text:
                text = text.replace(value, "#")
    text = _NAMED.sub("#", _ADDRESS.sub("#", _QUOTED.sub("#", text)))
    return " ".join(text.lower().split())[:_COMPARED]


def probing(cut: PositionedBatch) -> list[tuple[int, int]]:
    """Split a batch to find out quickly whether any record is accepted: the first, the last and the middle
    record individually, then the records in between."""
    places = sorted(set(cut.of))
    alone = list(dict.fromkeys((places[0], places[-1], places[len(places) // 2])))
    pieces, start = [(place, place + 1) for place in alone], 0
    for place in (*sorted(alone), cut.size):
        if place > start:
            pieces.append((start, place))
        start = place + 1
    return pieces


def halves(cut: PositionedBatch) -> list[tuple[int, int]]:
    """Split a batch in two, between two positions."""
    middle = cut.of[len(cut.of) // 2]
    # Not before the first position with a record.
    middle = middle if middle > cut.of[0] else next(place for place in cut.of if place > middle)
    return [(0, middle), (middle, cut.size)]
