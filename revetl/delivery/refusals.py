"""Telling a refusal of some records from a refusal of all.

A destination that refuses an account, a list or a field refuses every record alike, and those must not be
booked as rejected: they would not go out again once its cause is gone. Until somebody is accepted, refusals
are therefore held back, and requests go out one at a time.
"""

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
"""Records that have to be refused in the same words for them to be all."""
PROBES = 9
"""Requests after which nothing more is tried to find somebody who is accepted."""
_MOST_HELD = 10_000

_QUOTED = re.compile(r"""\\"[^"\\]*\\"|'[^']*'|\u2018[^\u2019]*\u2019|“[^”]*”|`[^`]*`""")
_ADDRESS = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+")
_NAMED = re.compile(r"[\w.+/-]*\d[\w.+/-]*")
_COMPARED = 150


class RefusedByAll(Exception):
    """All records are refused alike: nothing more is sent."""


@dataclass
class _Tally:
    """What was refused in the same words, by batch: the places of records, whether the batch was refused
    whole (it may have one bad record in it), and the places of records that were refused by themselves."""

    example: str
    places: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    whole: set[tuple[str, int]] = field(default_factory=set)
    alone: dict[tuple[str, int], set[int]] = field(default_factory=dict)

    def count(self, *, with_unprobed: bool) -> int:
        """The records of which it is likely enough that each of them was refused; 0 where it is not. A batch
        that was refused whole counts when a record of it was refused by itself too, or with `with_unprobed`
        when that is so of another one."""
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
    """The refusals of one run. `accepted` is whether the destination took anybody: then whoever is refused is
    refused for themselves."""

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
        """Whether it may be that all are refused."""
        return not self.accepted and bool(self._tallies)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to send: at once, or, where all may be refused, when nothing else is in flight. What is
        noted within it is decided about at its end. Raises RefusedByAll when all are refused."""
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
        """A request was refused as it is."""
        tally = self._tally(reason, cut.records.records)
        batch = (cut.records.operation, cut.batch)
        places = {cut.place + at for at in cut.of}
        tally.places.setdefault(batch, set()).update(places)
        if cut.divisible:
            tally.whole.add(batch)
        else:
            tally.alone.setdefault(batch, set()).update(places)

    def note(self, cut: PositionedBatch, rejected: Iterable[tuple[int, Rejection]]) -> None:
        """Records of a batch were refused one by one. That nobody there is known by an identifier says
        nothing about the others."""
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
        """Keep an answer that rejects somebody until it is known whether all are refused. False where it is
        known, or too many are kept."""
        if self.accepted or len(self.held) >= _MOST_HELD:
            self.accepted = True
            return False
        self.held.append(answer)
        return True

    def of_all(self, *, nothing_left: bool = False) -> str | None:
        """What the destination says to all; None where that is not sure, or not yet."""
        if nothing_left and self._found is None:
            self._found = self._of_all(with_unprobed=False)
        return self._found

    def _of_all(self, *, with_unprobed: bool) -> str | None:
        if self.accepted:
            return None
        for tally in self._tallies.values():
            if count := tally.count(with_unprobed=with_unprobed):
                return f"{count:,} records, and nobody was accepted in this run: {tally.example}"
        return None


def words_of(reason: str, records: Iterable[Record] = ()) -> str:
    """A reason without whom and what it is about: names, numbers and quoted values."""
    text = reason
    for record in records:
        for value in (record.key, *record.identifiers.values()):
            if isinstance(value, str) and value in text:
                text = text.replace(value, "#")
    text = _NAMED.sub("#", _ADDRESS.sub("#", _QUOTED.sub("#", text)))
    return " ".join(text.lower().split())[:_COMPARED]


def probing(cut: PositionedBatch) -> list[tuple[int, int]]:
    """A batch in pieces that tell soonest whether anybody is accepted: the first record by itself, the last
    and the one in the middle; and then what is between them."""
    places = sorted(set(cut.of))
    alone = list(dict.fromkeys((places[0], places[-1], places[len(places) // 2])))
    pieces, start = [(place, place + 1) for place in alone], 0
    for place in (*sorted(alone), cut.size):
        if place > start:
            pieces.append((start, place))
        start = place + 1
    return pieces


def halves(cut: PositionedBatch) -> list[tuple[int, int]]:
    """A batch in two, between two of its places."""
    middle = cut.of[len(cut.of) // 2]
    # Not before the first that has a record.
    middle = middle if middle > cut.of[0] else next(place for place in cut.of if place > middle)
    return [(0, middle), (middle, cut.size)]
