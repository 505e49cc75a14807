"""Whatever a destination does and whenever runs are killed, nothing is lost.

To repeat a seed: pytest tests/scenarios/chaos -k seed-7-
(or seed-120-, of the 200 that `make test-chaos` runs).
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.server import chaos
from tests.scenarios.chaos.story import tell

SEEDS = 20
SEEDS_OF_THE_FAST_SUITE = 1
SEEDS_OF_THE_SLOW_SUITE = 5


def marks_of(seed: int) -> list[pytest.MarkDecorator]:
    """Each seed is in one suite: fast, slow, long."""
    if seed < SEEDS_OF_THE_FAST_SUITE:
        return []
    return [pytest.mark.slow if seed < SEEDS_OF_THE_SLOW_SUITE else pytest.mark.long]


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=marks_of(seed)) for seed in range(SEEDS)],
    ids=lambda seed: f"seed-{seed}-",
)
def test_nothing_is_lost(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(seed, tmp_path / "shop", monkeypatch, steps=3, kills=1, fresh=int(seed % 4 == 0))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 200), ids=lambda seed: f"seed-{seed}-")
def test_nothing_is_lost_in_two_hundred_stories(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(seed, tmp_path / "shop", monkeypatch, steps=4, kills=2, fresh=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_two_processes_never_deliver_the_same_batch(seed: int, tmp_path: Path) -> None:
    with chaos(seed) as server:
        config = {"type": "webhook", "url": server.url, "batch_size": 5, "requests_per_second": 60}
        project = ProjectFolder(tmp_path / "shop", {"crm": config})
        query = "select 'u' || i as user_id, i as score from range(150) as numbers (i)"
        project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm"}]})
        command = [sys.executable, "-m", "revetl", "sync", "audience", "vips", "-q"]
        both = [subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True) for _ in "ab"]
        codes = sorted(process.wait(timeout=60) for process in both)
        errors = "".join(process.communicate()[1] for process in both)
        assert codes[-1] == 6, errors
        assert codes[0] in (0, 1, 4), errors
        assert server.log
        assert max(Counter(server.answered).values()) == 1
