"""What holds for any history of audiences: diff, journal and cutting, by Hypothesis."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.destinations.base import Record, Records
from revetl.destinations.segment import Segment
from revetl.destinations.webhook import Webhook
from revetl.sandbox import running_sandbox
from revetl.sync.batches import cut_batches
from revetl.sync.journal import DELIVERED, UNSENT, Answer, Journal, Range
from tests.support.project import ProjectFolder

KEYS = st.sampled_from([f"p{i}" for i in range(6)])
EMAILS = st.sampled_from([f"{letter}@x" for letter in "abcdef"])
AUDIENCES = st.dictionaries(KEYS, st.tuples(EMAILS, st.integers(0, 3)), max_size=6).filter(
    lambda people: len({email for email, _ in people.values()}) == len(people)
)
META = {
    "key": "person",
    "sync": [{"to": "crm", "identifiers": {"id": "email"}, "fields": {"score": "score"}}],
}


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
                            await journal.write(Answer(Range("add", start, end), outcome))
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


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 33_000), max_size=120),
    nameless=st.sets(st.integers(0, 119)),
    pieces=st.integers(1, 50),
)
def test_batches_cover_all_records_in_order_within_the_limits(
    sizes: list[int], nameless: set[int], pieces: int
) -> None:
    segment = Segment.model_validate({"type": "segment", "write_key": "k"})
    records = [
        Record(f"u{i}", {} if i in nameless else {"userId": f"u{i}"}, {"note": "x" * size}, "r")
        for i, size in enumerate(sizes)
    ]
    source = [(first, records[first : first + pieces]) for first in range(0, len(records), pieces)]
    cuts = list(cut_batches(segment, "mirror", Records("a.s", "a", "r", "add", ()), source))
    assert [record for cut in cuts for record in cut.records] == records
    assert [cut.place for cut in cuts] == [sum(len(c.records) for c in cuts[:i]) for i in range(len(cuts))]
    for cut in cuts:
        if cut.request is not None:
            assert len(cut.request.content) <= 500_000
        else:
            (record,) = cut.records
            assert not record.identifiers or len(record.fields["note"]) > 31_000


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(1, 7))
def test_batch_ids_name_their_changes(keys: list[str], size: int) -> None:
    webhook = Webhook.model_validate({"type": "webhook", "url": "http://x", "batch_size": size})
    records = [Record(key, {"id": key}, {}, "r") for key in keys]

    def ids() -> list[str]:
        whole = Records("a.w", "a", "r", "add", ())
        return [cut.records.batch_id for cut in cut_batches(webhook, "mirror", whole, [(0, records)])]

    assert ids() == ids()
    assert len(set(ids())) == len(ids())
