"""Find the records that a run would reject before sending, by serializing the plan's records as a run
does."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from sqlglot import exp

from revetl.delivery.batches import PositionedBatch, cut_batches
from revetl.delivery.scrub import scrub
from revetl.delivery.serializer import Serializer, records_of
from revetl.delivery.spool import COLUMNS, OPERATIONS
from revetl.destinations.base.destination import Destination, Record, Rejection
from revetl.destinations.base.records import SyncContext
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.plan import Plan, Shaped
from revetl.sync.plan.record_queries import leaving, sending

_SECONDS = 10.0
_MOST_RECORDS = 200_000
_OF_FUNCTION = 100
"""A project's function can have side effects, so run it on a small sample only."""
_BATCH_ROWS = 5_000
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\w.,:-]*")
_DIFFERS = "…"
_MOST_REASONS = 10


def shaped(
    plan: Plan, diff: Diff, destination: Destination, shaping: Serializer, context: SyncContext
) -> Shaped | None:
    """Serialize the plan's records without sending them, and count rejections by reason.

    Checks all records if that takes under ten seconds, otherwise the first ones; with a function, only a
    small sample. Returns None for a plan without changes.
    """
    if not plan.changes:
        return None
    return _Making(plan, diff, destination, shaping, context).made()


class _Making:
    def __init__(
        self, plan: Plan, diff: Diff, destination: Destination, shaping: Serializer, context: SyncContext
    ) -> None:
        self._plan, self._diff, self._destination = plan, diff, destination
        self._shaping, self._context = shaping, context
        self._ends_at = time.monotonic() + _SECONDS
        self._left = _MOST_RECORDS if shaping.function is None else _OF_FUNCTION
        self._checked = 0
        self._reasons: dict[str, tuple[int, str]] = {}

    def made(self) -> Shaped:
        for operation in OPERATIONS:
            if self._plan.counts[operation] and self._left > 0:
                context = replace(self._context, operation=operation)
                for cut in cut_batches(self._destination, self._plan.mode, context, self._records(operation)):
                    self._count(cut)
        return Shaped(self._checked, self._plan.changes, dict(self._by_reason().most_common()))

    def _records(self, operation: str) -> Iterator[tuple[int, list[Record]]]:
        """Yield batches of an operation's records, each with the position of its first record, until time is
        up."""
        make = leaving if operation == "remove" else lambda *given: sending(given[0], operation, *given[1:])
        query = make(self._diff, "", self._left)
        wanted = exp.select(*(exp.column(name, table="q", quoted=True) for name in COLUMNS)).from_(
            query.subquery("q")  # type: ignore[attr-defined]
        )
        place = 0
        for batch in self._diff.warehouse.stream(wanted, min(_BATCH_ROWS, self._left)):
            yield place, list(records_of(batch, self._shaping, operation))
            place += batch.num_rows
            self._checked += batch.num_rows
            self._left -= batch.num_rows
            if time.monotonic() > self._ends_at:
                self._left = 0
            if self._left <= 0:
                return

    def _count(self, cut: PositionedBatch) -> None:
        if cut.later is not None:
            self._add(cut.later)
            return
        rejected = cut.refused if cut.result is None else cut.by_place(cut.result).rejected
        for why in rejected.values():
            self._add(why)
        if cut.flow is not None:
            cut.flow.close()

    def _add(self, why: str | Rejection) -> None:
        """Count a reason, grouping reasons that differ only in values."""
        text = why.reason if isinstance(why, Rejection) else why
        field = why.field if isinstance(why, Rejection) else None
        said = scrub(f"{field}: {text}" if field and field not in text else text) or ""
        kind = _VALUE.sub(_DIFFERS, said)
        count, words = self._reasons.get(kind, (0, said))
        self._reasons[kind] = count + 1, _common(words, said)

    def _by_reason(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for count, words in self._reasons.values():
            found[words] += count
        kept: Counter[str] = Counter(dict(found.most_common(_MOST_REASONS)))
        if others := sum(found.values()) - sum(kept.values()):
            kept["other reasons"] += others
        return kept


def _common(words: str, others: str) -> str:
    """Return a sentence with the words that differ from the other one replaced by an ellipsis."""
    if words == others:
        return words
    pairs = zip_longest(words.split(" "), others.split(" "), fillvalue=_DIFFERS)
    return " ".join(one if one == other else _DIFFERS for one, other in pairs)
