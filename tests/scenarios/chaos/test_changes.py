"""Modes and accounts that change while runs are killed: nobody stays behind, and nobody is left out."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from revetl.delivery import http
from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.process import BACK_OFF, killed
from tests.scenarios.chaos.server import chaos
from tests.scenarios.chaos.story import RUN, Story

SEEDS = 20
SEEDS_OF_THE_SLOW_SUITE = 2
SEEDS_PARAMETERS = [
    pytest.param(seed, marks=pytest.mark.slow if seed < SEEDS_OF_THE_SLOW_SUITE else pytest.mark.chaos)
    for seed in range(SEEDS)
]


@dataclass
class ChangingStory(Story):
    """A story whose mode changes. Identifiers stay: where nobody is removed, an old one is left there."""

    def next_identifiers(self) -> None:
        """None changes."""

    def change_mode(self, mode: str, **destination: Any) -> None:
        """Go on in another mode, or to another place."""
        self.mode = mode
        sync = {"to": "crm", "mode": mode, "identifiers": {"id": "email"}, "fields": {"score": "score"}}
        self.project.declare("vips", {"key": "person", "sync": [sync]})
        if destination:
            self.project.destinations({"crm": destination})
        self.told.append(f"mode {mode} {destination}")


def begun(seed: int, server: Any, root: Path) -> ChangingStory:
    config = {"type": "webhook", "url": server.url, "batch_size": 3, "timeout": 0.5, "max_in_flight": 4}
    project = ProjectFolder(root, {"crm": config})
    empty = "select * from (select null, null, null where false) as t (person, email, score)"
    project.audience("vips", empty, {"key": "person", "sync": [{"to": "crm"}]})
    story = ChangingStory(seed, server, "mirror", project, random.Random(seed))
    story.change_mode("mirror", **config)
    return story


@pytest.mark.parametrize("seed", SEEDS_PARAMETERS, ids=lambda seed: f"seed-{seed}-")
def test_who_left_in_a_mode_that_removes_nobody_is_gone_in_the_end(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_BACK_OFF", BACK_OFF)
    with chaos(seed) as server:
        story = begun(seed, server, tmp_path / "shop")
        try:
            for step in range(4):
                story.change_mode(story.chance.choice(("mirror", "upsert")) if step else "mirror")
                story.next_audience()
                if story.chance.random() < 0.4:
                    story.run_and_kill(loaded=True)
                else:
                    story.run()
            story.change_mode("mirror")
            story.end_well()
        except BaseException:
            print(f"seed {seed}:", *story.told, sep="\n  ")
            raise


@pytest.mark.parametrize("seed", SEEDS_PARAMETERS, ids=lambda seed: f"seed-{seed}-")
def test_another_account_gets_everyone_however_often_the_refresh_is_killed(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_BACK_OFF", BACK_OFF)
    with chaos(seed) as before, chaos(seed + 1) as server:
        story = begun(seed, before, tmp_path / "shop")
        try:
            story.next_audience()
            story.run()
            elsewhere = {"type": "webhook", "url": f"{server.url}b", "batch_size": 3, "timeout": 0.5}
            story.change_mode("mirror", **elsewhere)
            story.server = server
            refused = killed(story.project.root, RUN, signal.SIGTERM, lambda: False, loaded=True)
            assert refused.returncode == 3
            assert server.requests == 0
            for _ in range(2):
                when, told = story.instant(loaded=True)
                refresh = [*RUN, "--full-refresh"]
                ended = killed(story.project.root, refresh, signal.SIGKILL, when, loaded=True)
                story.told.append(f"refresh, killed {told}: {ended.returncode} {ended.said}")
            story.next_audience()
            (first,) = story.project.open().plan("vips")
            if first.stops:
                assert [stop.guard for stop in first.stops] == ["identity"]
                story.project.open().sync("vips", full_refresh=True)
            story.end_well()
        except BaseException:
            print(f"seed {seed}:", *story.told, sep="\n  ")
            raise
