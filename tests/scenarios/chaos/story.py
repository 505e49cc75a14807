"""A seed's story: audiences that change, runs that are killed, a destination on bad days, and a good end."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from revetl.delivery import http
from revetl.errors import RevetlError
from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.process import BACK_OFF, killed
from tests.scenarios.chaos.server import Chaos, chaos
from tests.scenarios.chaos.truth import Warehouse, check_books, check_state, opened, scores

MODES = ("mirror", "mirror", "mirror", "mirror", "upsert", "archive", "insert", "events")
PEOPLE = 20
FORCED = ("max_change", "empty")
RUN = ["sync", "audience", "vips", "-q", *(word for guard in FORCED for word in ("--force", guard))]
SYNCS: dict[str, dict[str, Any]] = {
    "mirror": {},
    "upsert": {},
    "insert": {},
    "archive": {"archive": {"state": "gone", "score": -1}, "constants": {"state": "here"}},
    "events": {"event": "Scored"},
}


@dataclass
class Story:
    """One seed. `told` is what happened, to be shown when it ends badly. `people` is key to identifier and
    score."""

    seed: int
    server: Chaos
    mode: str
    project: ProjectFolder
    chance: random.Random
    people: dict[str, tuple[str, int]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @property
    def once(self) -> bool:
        """Whether a key is sent once, so that nothing of it may change."""
        return self.mode in ("insert", "events")

    def next_audience(self) -> None:
        """Some leave, some change, some come or come back."""
        chance = self.chance
        for key in [key for key in self.people if chance.random() < 0.25]:
            del self.people[key]
        for key, (name, score) in list(self.people.items()):
            if chance.random() < 0.3:
                self.people[key] = (name, score + 1)
        for number in range(PEOPLE):
            if f"p{number}@x" not in self.names() and chance.random() < 0.4:
                self.people.setdefault(f"p{number}", (f"p{number}@x", chance.randrange(9)))
        if not self.once:
            self.next_identifiers()
        self.write()

    def next_identifiers(self) -> None:
        """Some get another identifier, some go on under another key, two swap their identifiers."""
        chance = self.chance
        for key, (_, score) in list(self.people.items()):
            luck, other = chance.random(), f"{key}-{chance.randrange(2)}@x"
            if luck < 0.1 and other not in self.names():
                self.people[key] = (other, score)
            elif 0.1 <= luck < 0.2 and self.mode == "mirror" and f"{key}b" not in self.people:
                self.people[f"{key}b"] = self.people.pop(key)
        if self.mode != "upsert" and len(self.people) > 1:
            one, two = chance.sample(sorted(self.people), 2)
            (name, score), (other, points) = self.people[one], self.people[two]
            self.people[one], self.people[two] = (other, score), (name, points)

    def names(self) -> set[str]:
        """The identifiers of the audience."""
        return {name for name, _ in self.people.values()}

    def write(self) -> None:
        """Build the audience's table, in no order."""
        rows = [f"({_quoted(key)}, {_quoted(name)}, {score})" for key, (name, score) in self.people.items()]
        self.chance.shuffle(rows)
        listed = ", ".join(rows)
        values = f"values {listed}" if rows else "select null, null, null where false"
        self.project.audience("vips", f"select * from ({values}) as t (person, email, score)")

    def run(self) -> None:
        """A run in this process; whatever becomes of it, the state is true."""
        retry = self.chance.random() < 0.3
        anew = self.mode != "events" and self.chance.random() < 0.1
        try:
            (run,) = self.project.open().sync("vips", force=FORCED, retry=retry, full_refresh=anew)
            self.told.append(
                f"{retry=} {anew=} {run.status}: {run.planned} {run.delivered} {run.error or ''}"
            )
        except RevetlError as error:
            self.told.append(f"{type(error).__name__}: {error}")
            return
        with opened(self.project) as warehouse:
            check_books(warehouse)
            check_state(warehouse, self.server, self.mode)

    def run_and_kill(self, *, loaded: bool) -> None:
        """A run in a process of its own that is killed, or asked to end, at some instant: after some time,
        or when it is at some request. The disk it ran on may be lost then."""
        number = self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        when, told = self.instant(loaded=loaded)
        ended = killed(self.project.root, RUN, number, when, loaded=loaded)
        self.told.append(f"{number.name} {told}: {ended.returncode} {ended.said.strip()}")
        assert "Traceback" not in ended.said
        assert ended.returncode in (0, 1, 4, -9, -15, 143)
        if self.chance.random() < 0.15:
            shutil.rmtree(self.project.root / ".revetl", ignore_errors=True)
            self.told.append("the disk is lost")

    def instant(self, *, loaded: bool) -> tuple[Callable[[], bool], str]:
        """When to kill, and that in words."""
        if self.chance.random() < 0.5:
            before, count = self.server.requests, self.chance.randrange(1, 8)
            moment = self.chance.uniform(0, 0.01)

            def at_a_request() -> bool:
                if self.server.requests - before < count:
                    return False
                time.sleep(moment)
                return True

            return at_a_request, f"at request {count}"
        seconds = self.chance.uniform(0, 0.5) + (0.0 if loaded else 0.6)
        start = time.monotonic()
        return lambda: time.monotonic() - start > seconds, f"after {seconds:.2f} s"

    def end_well(self) -> None:
        """The bad days are over. What is still rejected blocks nobody, and goes out once it is mended."""
        self.server.calm = True
        candidates = sorted(self.names() | scores(self.server, self.mode).keys())
        refused = self.server.refused = set(self.chance.sample(candidates, min(2, len(candidates))))
        before = scores(self.server, self.mode)
        self.settle(retry=True)
        self.check(refused, before)
        assert {row["reason"] for row in self.project.open().rejections()} <= {"a bad day"}
        # Mended by the row or by the destination.
        self.server.refused = set()
        changed = self.chance.random() < 0.5
        if changed:
            for key, (name, score) in self.people.items():
                if name in refused:
                    self.people[key] = (name, score + 100)
            self.write()
            self.settle(retry=False)
            waiting = [row for row in self.project.open().rejections() if row["operation"] != "remove"]
            assert [row for row in waiting if row["key"] in self.people] == []
        self.settle(retry=True)
        self.check(set(), {})
        assert self.project.open().rejections() == []

    def settle(self, *, retry: bool) -> None:
        """Runs until nothing is planned; it takes two, or three where an identifier is to be taken out that
        could not be before."""
        planned = []
        for attempt in range(4):
            (run,) = self.project.open().sync("vips", force=FORCED, retry=retry and attempt == 0)
            planned.append(dict(run.planned))
            self.told.append(f"in the end: {run.status} {run.planned} {run.error or ''}")
            assert run.status in ("success", "rejected")
            if not any(run.planned.values()):
                break
        assert not any(planned[-1].values()), planned

    def check(self, refused: set[str], before: dict[str, int]) -> None:
        """The destination holds what the audience does, and so does the state; but for the `refused`, who are
        as they were `before`."""
        held = scores(self.server, self.mode)
        wanted = dict(self.people.values())
        for name in refused:
            assert held.get(name) == before.get(name), name
            held.pop(name, None)
            wanted.pop(name, None)
        if self.mode in ("mirror", "archive"):
            assert held == wanted
        elif self.once:
            assert wanted.keys() <= held.keys()
        else:
            assert wanted.items() <= held.items()
        names = [name for name, _ in self.server.events.values()]
        assert len(names) == len(set(names)), "each key is one event, however often it was sent"
        with opened(self.project) as warehouse:
            check_books(warehouse)
            check_state(warehouse, self.server, self.mode)
            if not refused:
                self.check_tables(warehouse)

    def check_tables(self, warehouse: Warehouse) -> None:
        """Nothing is uncertain, and the state is the audience."""
        pending = "select key from revetl.revetl.sync_state where pending_operation is not null"
        if self.mode not in ("mirror", "archive"):
            # Where nobody is removed, an attempt for somebody who has left is nobody's business any more.
            pending += " and key in (select person from vips)"
        assert warehouse.rows(pending) == []
        state = dict(warehouse.rows("select key, identifiers ->> 'id' from revetl.revetl.sync_state"))
        now = {key: name for key, (name, _) in self.people.items()}
        assert [key for key in state if " was {" in key] == [], "old identifiers are still to be taken out"
        assert state == now if self.mode in ("mirror", "archive") else now.items() <= state.items()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def tell(seed: int, root: Path, patch: pytest.MonkeyPatch, *, steps: int, kills: int, fresh: int) -> None:
    """Live through a seed's story of so many steps. Of the processes that are killed in it, `fresh` are
    `python -m revetl` and the others are forked. A failure says how to see it again."""
    patch.setattr(http, "_BACK_OFF", BACK_OFF)
    chance = random.Random(seed)
    mode = MODES[seed % len(MODES)]
    with chaos(seed) as server:
        config = {"type": "webhook", "url": server.url, "batch_size": 3, "timeout": 0.5, "max_in_flight": 4}
        project = ProjectFolder(root, {"crm": config})
        fields = {"score": "score"}
        sync = {"to": "crm", "mode": mode, "identifiers": {"id": "email"}, "fields": fields, **SYNCS[mode]}
        empty = "select * from (select null, null, null where false) as t (person, email, score)"
        project.audience("vips", empty, {"key": "person", "sync": [sync]})
        story = Story(seed, server, mode, project, chance)
        fatal = chance.sample(range(steps), kills)
        try:
            for step in range(steps):
                story.next_audience()
                if step in fatal:
                    story.run_and_kill(loaded=step not in fatal[:fresh])
                else:
                    story.run()
            story.end_well()
        except BaseException:
            print(f"seed {seed}, mode {mode}:", *story.told, sep="\n  ")
            print(f"again: pytest tests/scenarios/chaos -k seed-{seed}-")
            raise
