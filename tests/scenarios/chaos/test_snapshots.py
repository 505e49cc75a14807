"""For any two snapshots of an audience and any pattern of acceptance, by Hypothesis."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import wait_exponential_jitter

from revetl.delivery import http
from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.server import Chaos, chaos

KEYS = [f"p{i}" for i in range(7)]
SNAPSHOTS = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 2), max_size=len(KEYS))
FAULTS = st.lists(st.sampled_from(["answer", "500", "429", "reset before", "reset after"]), max_size=8)
META: dict[str, Any] = {"key": "person", "sync": [{"to": "crm", "fields": {"score": "score"}}]}


class Scripted(Chaos):
    """Does to each request what the script says next, then answers; refuses the records of some people."""

    script: list[str]
    refused: set[str]

    def fault(self) -> str:
        return self.script.pop(0) if self.script else "answer"

    def apply(self, body: dict[str, Any], *, rejecting: bool) -> list[dict[str, str]]:
        refused = [record for record in body["records"] if record["id"] in self.refused]
        taken = [record for record in body["records"] if record["id"] not in self.refused]
        super().apply({**body, "records": taken}, rejecting=False)
        return [{"id": record["id"], "reason": "refused"} for record in refused]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = wait_exponential_jitter(multiplier=0.005, max=0.02, jitter=0.005)
    monkeypatch.setattr(http, "_BACK_OFF", quick)


def fill(project: ProjectFolder, people: dict[str, int], meta: dict[str, Any] | None = None) -> None:
    rows = ", ".join(f"('{key}', {score})" for key, score in people.items())
    values = f"values {rows}" if rows else "select null, null where false"
    project.audience("vips", f"select * from ({values}) as t (person, score)", meta)


def held(server: Chaos) -> dict[str, int]:
    return {key: fields["score"] for key, fields in server.audiences.get("vips", {}).items()}


ANY = given(
    old=SNAPSHOTS,
    new=SNAPSHOTS,
    refused=st.sets(st.sampled_from(KEYS)),
    script=FAULTS,
    retries=st.integers(0, 2),
)


@pytest.mark.slow
@settings(max_examples=5, derandomize=True)
@ANY
def test_the_destination_comes_to_hold_the_new_snapshot_less_the_rejected(**drawn: Any) -> None:
    live_through(**drawn)


@pytest.mark.long
@settings(max_examples=60, derandomize=True)
@ANY
def test_so_it_does_in_sixty_more_cases(**drawn: Any) -> None:
    live_through(**drawn)


def live_through(
    old: dict[str, int], new: dict[str, int], refused: set[str], script: list[str], retries: int
) -> None:
    """The old snapshot is synced, then the new one as the script and the refusals have it."""
    with tempfile.TemporaryDirectory() as folder, chaos(0, Scripted) as server:
        assert isinstance(server, Scripted)
        server.script, server.refused = [], set()
        config = {"type": "webhook", "url": server.url, "batch_size": 2, "retries": retries}
        project = ProjectFolder(Path(folder) / "shop", {"crm": config})
        fill(project, old, META)
        (first,) = project.open().sync("vips")
        assert (first.status, held(server)) == ("success", old)

        # Any pattern of acceptance: what is not refused may go unanswered, applied or not.
        fill(project, new)
        server.script, server.refused = list(script), refused
        (second,) = project.open().sync("vips", force=["empty"])
        for operation, planned in second.planned.items():
            assert planned == second.attempted[operation] + second.aborted[operation]

        # Then it answers again; what it refuses is as it was.
        server.script = []
        for _ in range(2):
            project.open().sync("vips", force=["empty"])
        stayed = {key: score for key, score in old.items() if key in refused}
        assert held(server) == {key: score for key, score in new.items() if key not in refused} | stayed

        # Nothing is refused any more.
        server.refused = set()
        (last,) = project.open().sync("vips", force=["empty"], retry=True)
        assert (last.status, held(server)) == ("success", new)
        (plan,) = project.open().plan("vips", retry=True)
        assert (plan.changes, plan.rejected, project.open().rejections()) == (0, 0, [])
