"""Runs of more than a thousand changes whose disk is lost, run after run, without anybody forcing a guard."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.process import killed
from tests.scenarios.chaos.server import chaos

RUN = ["sync", "audience", "vips", "-q"]
FORCED = [*RUN, "--force", "max_change"]
MEMBERS = (
    "select 'p' || i as person, 'u' || i || '{at}' as email, {score} as score from range(1_500) as n (i)"
)
META = {
    "key": "person",
    "sync": [{"to": "crm", "identifiers": {"id": "email"}, "fields": {"score": "score"}}],
}


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_a_disk_lost_again_and_again_needs_no_force(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with chaos(seed) as server:
        server.calm = True
        config = {"type": "webhook", "url": server.url, "batch_size": 50, "requests_per_second": 40}
        project = ProjectFolder(tmp_path / "shop", {"crm": config})
        # The first load; then every identifier changes, which is forced once.
        for at, command in (("@old", RUN), ("@new", FORCED)):
            project.audience("vips", MEMBERS.format(at=at, score=1), META.copy())
            for lost in range(3):
                before, count = server.requests, chance.randrange(1, 12)
                ended = killed(
                    project.root,
                    command if lost == 0 else RUN,
                    signal.SIGKILL,
                    lambda before=before, count=count: server.requests - before >= count,  # type: ignore[misc]
                    loaded=True,
                )
                assert ended.returncode in (0, -9), ended.said
                shutil.rmtree(project.root / ".revetl", ignore_errors=True)
            (run,) = project.open().sync("vips")
            assert run.status == "success", run.error
            assert set(server.audiences["vips"]) == {f"u{i}{at}" for i in range(1_500)}
        assert project.sql("select count(*), count(row_hash) from revetl.revetl.sync_state") == [
            (1_500, 1_500)
        ]
