"""What holds for any history of audiences: diff, journal and cutting, by Hypothesis."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.delivery.batches import PositionedBatch, cut_batches
from revetl.delivery.journal import (
    DELIVERED,
    UNSENT,
    Journal,
    Range,
    RangeOutcome,
)
from revetl.destinations.base.destination import (
    Batch,
    Record,
    Records,
    Result,
)
from revetl.destinations.segment.destination import Segment
from revetl.destinations.webhook.destination import Webhook
from revetl.sandbox import running_sandbox
from tests.helpers.project import ProjectFolder

KEYS = st.sampled_from([f"p{i}" for i in range(6)])
EMAILS = st.sampled_from([f"{letter}@x" for letter in "abcdef"])
AUDIENCES = st.dictionaries(KEYS, st.tuples(EMAILS, st.integers(0, 3)), max_size=6).filter(
    lambda people: len({email for email, _ in people.values()}) == len(people)
)
META = {
    "key": "person",
    "sync": [{"to": "crm", "identifiers": {"id": "email"}, "fields": {"score": "score"}}],
}


@pytest.mark.slow
@settings(max_examples=4)
@given(history=st.lists(AUDIENCES, min_size=1, max_size=4))
def test_after_every_sync_the_destination_holds_the_audience(
    history: list[dict[str, tuple[str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, running_sandbox() as url:
        project = ProjectFolder(Path(folder) / "shop", {"crm": {"type": "webhook", "url": f"{url}/crm"}})
        meta: dict[str, Any] | None = META.copy()
        for people in history:
            rows = ", ".join(f"('{key}', '{email}', {score})" for key, (email, score) in people.items())
            values = f"values {rows}" if rows else "select null, null, null where false"
            project.audience("vips", f"select * from ({values}) as t (person, email, score)", meta)
            meta = None
            (run,) = project.open().sync("vips", force=["empty"])
            assert run.status == "success"
            audiences = httpx.get(f"{url}/_/members/crm").json()["audiences"]
            held = audiences.get("vips", {"members": {}})["members"]
            assert held == {email: {"score": score} for email, score in people.values()}
            state = project.sql("select key, identifiers ->> 'id' from revetl.revetl.sync_state")
            assert dict(state) == {key: email for key, (email, _) in people.items()}
            (again,) = project.open().plan("vips")
            assert again.changes == 0


ANSWERS = st.lists(st.tuples(st.integers(1, 20), st.sampled_from([DELIVERED, UNSENT, None])), max_size=12)


@settings(max_examples=60)
@given(answers=ANSWERS, halved=st.booleans())
def test_every_row_that_was_sent_is_delivered_unsent_or_unknown(
    answers: list[tuple[int, str | None]], halved: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        expected: dict[str | None, set[int]] = {DELIVERED: set(), UNSENT: set(), None: set()}

        async def send() -> None:
            first = 0
            for size, outcome in answers:
                last = first + size
                await journal.write(Range("add", first, last))
                middle = first + size // 2 if halved else first
                if outcome is not None:
                    for start, end in ((first, middle), (middle, last)):
                        if start < end:
                            await journal.write(RangeOutcome(Range("add", start, end), outcome))
                expected[outcome] |= set(range(first, last))
                first = last

        asyncio.run(send())
        journal.close()
        reopened = Journal(Path(folder))
        delivered = {row for _, cut in reopened.unfolded(1_000) for row in range(cut.first, cut.last)}
        unknown = {row for cut in reopened.unknown() for row in range(cut.first, cut.last)}
        assert (delivered, unknown) == (expected[DELIVERED], expected[None])
        reopened.mark_folded(rowid for rowid, _ in reopened.unfolded(1_000))
        assert reopened.unfolded(1_000) == []
        reopened.close()


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(0, 33_000), max_size=120),
    kinds=st.lists(
        st.sampled_from(["one", "nameless", "none", "three", "later"]), min_size=120, max_size=120
    ),
    pieces=st.integers(1, 50),
    most=st.sampled_from([1, 2, 7, 2_500]),
)
def test_batches_settle_every_place_once_within_the_limits(
    sizes: list[int], kinds: list[str], pieces: int, most: int
) -> None:
    class Small(Segment):
        batch: ClassVar[Batch] = replace(Segment.batch, records=most)

    segment = Small.model_validate({"type": "segment", "write_key": "k"})

    def record(place: int, kind: str, size: int) -> Record:
        known = {} if kind == "nameless" else {"userId": f"u{place}"}
        made = Record(f"u{place}", known, {"note": "x" * size}, "r")
        instead = {"none": (), "three": tuple(made._replace(part=part) for part in range(3))}.get(kind)
        return made._replace(instead=instead, later="not now" if kind == "later" else None)

    records = [
        record(place, kind, size) for place, (kind, size) in enumerate(zip(kinds, sizes, strict=False))
    ]
    source = [(first, records[first : first + pieces]) for first in range(0, len(records), pieces)]
    cuts = list(cut_batches(segment, "mirror", Records("a.s", "a", "r", "add", ()), source))
    assert [place for cut in cuts for place in range(cut.place, cut.end)] == [*range(len(records))]
    each_of = [(cut, *each) for cut in cuts for each in zip(cut.of, cut.records, strict=True)]
    sent = [(cut.place + at, each.part) for cut, at, each in each_of]
    parts = {"one": [0], "three": [0, 1, 2]}
    assert sent == [(at, part) for at, kind in enumerate(kinds[: len(sizes)]) for part in parts.get(kind, [])]
    assert [cut.place for cut in cuts if cut.later] == [at for at, each in enumerate(records) if each.later]
    refused = {cut.place + at: str(why) for cut in cuts for at, why in cut.refused.items()}
    assert {at for at, why in refused.items() if "no identifier" in why} == {
        at for at, kind in enumerate(kinds[: len(sizes)]) if kind == "nameless"
    }
    for cut in cuts:
        if cut.request is not None:
            assert len(cut.request.content) <= 500_000
            assert len(cut.records) <= most or not cut.divisible
        for at in cut.of:
            assert at not in cut.refused or sizes[cut.place + at] * parts_of(kinds[cut.place + at]) > 31_000


def parts_of(kind: str) -> int:
    """How many records of a place."""
    return 3 if kind == "three" else 1


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=12),
    st.dictionaries(st.integers(0, 30), st.just("no"), max_size=6),
    st.data(),
)
def test_parts_of_a_batch_say_of_places_what_the_whole_says(
    counts: list[int], rejected: dict[int, str], data: st.DataObject
) -> None:
    of = tuple(place for place, count in enumerate(counts) for _ in range(count))
    records = tuple(Record(f"u{place}", {}, {}, "r") for place in of)
    cut = PositionedBatch(5, len(counts), Records("a.s", "a", "r", "add", records), of)
    rejected = {at: why for at, why in rejected.items() if at < len(of)}
    middle = data.draw(st.integers(0, len(counts)))
    told: dict[int, str] = {}
    for part in (cut.part(0, middle), cut.part(middle, len(counts))):
        before = sum(1 for place in of if place < part.place - 5)
        own = {at - before: why for at, why in rejected.items() if before <= at < before + len(part.records)}
        told |= {part.place + at: str(why) for at, why in part.by_place(Result(own)).rejected.items()}
    assert told == {5 + at: why for at, why in cut.by_place(Result(rejected)).rejected.items()}


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(1, 7))
def test_batch_ids_name_their_changes(keys: list[str], size: int) -> None:
    webhook = Webhook.model_validate({"type": "webhook", "url": "http://x", "batch_size": size})
    records = [Record(key, {"id": key}, {}, "r") for key in keys]

    def ids() -> list[str]:
        whole = Records("a.w", "a", "r", "add", ())
        return [cut.records.batch_id for cut in cut_batches(webhook, "mirror", whole, [(0, records)])]

    assert ids() == ids()
    assert len(set(ids())) == len(ids())
