"""For any history of an audience whose people change keys and identifiers, and any pattern of acceptance in
each of its runs, by Hypothesis."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl import transport
from tests.chaos.process import BACK_OFF
from tests.chaos.server import chaos
from tests.chaos.test_snapshots import FAULTS, Scripted
from tests.chaos.truth import check_books, check_state, opened, scores
from tests.support.project import ProjectFolder

NAMES = ("a@x", "b@x", "c@x", "d@x")
FORCED = ("max_change", "empty")


class Step(NamedTuple):
    """An audience of (key, identifier, score), and what the destination does while it is synced."""

    people: list[tuple[str, str, int]]
    refused: set[str]
    script: list[str]


PEOPLE = st.lists(
    st.tuples(st.sampled_from(("p", "q", "r", "s")), st.sampled_from(NAMES), st.integers(0, 2)),
    unique_by=(lambda person: person[0], lambda person: person[1]),
    max_size=4,
)
STEPS = st.builds(Step, PEOPLE, st.sets(st.sampled_from(NAMES), max_size=2), FAULTS)
ANY = given(
    mode=st.sampled_from(("mirror", "mirror", "upsert")), steps=st.lists(STEPS, min_size=2, max_size=4)
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_BACK_OFF", BACK_OFF)


@settings(max_examples=8, deadline=None)
@ANY
def test_identifiers_that_change_hands_are_never_mistaken(**drawn: Any) -> None:
    live_through(**drawn)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@ANY
def test_nor_are_they_in_many_more_histories(**drawn: Any) -> None:
    live_through(**drawn)


def live_through(mode: str, steps: list[Step]) -> None:
    """The state is true after every run; and after the last, once nothing is refused, all is as it should."""
    with tempfile.TemporaryDirectory() as folder, chaos(0, Scripted) as server:
        assert isinstance(server, Scripted)
        config = {"type": "webhook", "url": server.url, "batch_size": 1, "retries": 1}
        project = ProjectFolder(Path(folder) / "shop", {"crm": config})
        sync = {"to": "crm", "mode": mode, "identifiers": {"id": "email"}, "fields": {"score": "score"}}
        meta: dict[str, Any] | None = {"key": "person", "sync": [sync]}
        for step in steps:
            fill(project, step.people, meta)
            meta = None
            server.script, server.refused = list(step.script), step.refused
            run(project)
            with opened(project) as warehouse:
                check_books(warehouse)
                check_state(warehouse, server, mode)

        server.script, server.refused = [], set()
        planned = [run(project, retry=True), *(run(project) for _ in range(2))]
        assert planned[-1] == 0, planned
        wanted = {name: score for _, name, score in steps[-1].people}
        there = scores(server, mode)
        assert there == wanted if mode == "mirror" else wanted.items() <= there.items()
        with opened(project) as warehouse:
            check_books(warehouse)
            check_state(warehouse, server, mode)
            if mode == "mirror":
                found = dict(warehouse.rows("select key, identifiers ->> 'id' from revetl.revetl.sync_state"))
                assert found == {key: name for key, name, _ in steps[-1].people}


def fill(project: ProjectFolder, people: list[tuple[str, str, int]], meta: dict[str, Any] | None) -> None:
    rows = ", ".join(f"('{key}', '{name}', {score})" for key, name, score in people)
    values = f"values {rows}" if rows else "select null, null, null where false"
    project.audience("vips", f"select * from ({values}) as t (person, email, score)", meta)


def run(project: ProjectFolder, *, retry: bool = False) -> int:
    """How many records it planned."""
    (done,) = project.open().sync("vips", force=FORCED, retry=retry)
    return sum(done.planned.values())
