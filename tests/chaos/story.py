"""A seed's story: audiences that change, runs that are killed, a destination on bad days, and a good end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_exponential_jitter

from revetl import transport
from revetl.errors import RevetlError
from tests.chaos.server import Chaos, chaos
from tests.support.project import ProjectFolder

Audience = Mapping[str, tuple[str, int]]
"""Key to identifier and score."""

MODES = ("mirror", "mirror", "mirror", "mirror", "upsert", "archive", "insert", "events")
PEOPLE = 24
STEPS = 4
FORCED = ("max_change", "empty")
SYNCS: dict[str, dict[str, Any]] = {
    "mirror": {},
    "upsert": {},
    "insert": {},
    "archive": {"archive": {"state": "gone"}, "constants": {"state": "here"}},
    "events": {"event": "Scored"},
}


@dataclass
class Story:
    """One seed. `told` is what happened, to be shown when it ends badly."""

    seed: int
    root: Path
    server: Chaos
    mode: str
    project: ProjectFolder
    chance: random.Random
    people: dict[str, tuple[str, int]] = field(default_factory=dict)
    ever: dict[str, tuple[str, int]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def next_audience(self) -> None:
        """Some leave, some change, some come or come back; two may swap their identifiers."""
        chance = self.chance
        for key in [key for key in self.people if chance.random() < 0.25]:
            del self.people[key]
        for key, (name, score) in list(self.people.items()):
            if chance.random() < 0.3:
                self.people[key] = (name, score + 1)
        for number in range(PEOPLE):
            key = f"p{number}"
            taken = {name for name, _ in self.people.values()}
            if key not in self.people and f"{key}@x" not in taken and chance.random() < 0.5:
                self.people[key] = (f"{key}@x", chance.randrange(9))
        if self.mode == "mirror" and len(self.people) > 1:
            one, two = chance.sample(sorted(self.people), 2)
            (name, score), (other, points) = self.people[one], self.people[two]
            self.people[one], self.people[two] = (other, score), (name, points)
        self.ever |= self.people
        self.write()

    def write(self) -> None:
        """Build the audience's table."""
        rows = ", ".join(f"('{key}', '{name}', {score})" for key, (name, score) in self.people.items())
        values = f"values {rows}" if rows else "select null, null, null where false"
        self.project.audience("vips", f"select * from ({values}) as t (person, email, score)")

    def run(self) -> None:
        """A run in this process; whatever becomes of it."""
        try:
            runs = self.project.open().sync("vips", force=FORCED, retry=self.chance.random() < 0.3)
            self.told.append(f"{runs[0].status}: {runs[0].delivered} {runs[0].error or ''}")
        except RevetlError as error:
            self.told.append(f"{type(error).__name__}: {error}")

    def run_and_kill(self) -> None:
        """A run in a process of its own, that is killed or asked to end at some instant."""
        force = [word for guard in FORCED for word in ("--force", guard)]
        command = [sys.executable, "-m", "revetl", "sync", "audience", "vips", "-q", *force]
        process = subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        number = self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        delay = self.chance.uniform(0.5, 1.6)
        time.sleep(delay)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        self.told.append(f"{number.name} after {delay:.2f} s: {process.returncode} {said.strip()}")
        assert "Traceback" not in said, said

    def end_well(self) -> None:
        """The bad days are over: one run, and what was rejected goes out with it."""
        self.server.calm = True
        for _ in range(2):
            (run,) = self.project.open().sync("vips", force=FORCED, retry=True)
            self.told.append(f"at the end: {run.status} {run.planned}")
            assert run.status == "success"
        assert sum(run.planned.values()) == 0
        (plan,) = self.project.open().plan("vips")
        assert plan.changes == plan.rejected == 0

    def check(self) -> None:
        """The destination holds what the audience does, and so does the state."""
        held = self.server.audiences.get("vips", {})
        if self.mode == "mirror":
            expected = {name: {"score": score} for name, score in self.people.values()}
            wrong = {
                name: (held.get(name), expected.get(name))
                for name in held.keys() | expected.keys()
                if held.get(name) != expected.get(name)
            }
            assert wrong == {}, wrong
        elif self.mode == "upsert":
            assert {name: held[name]["score"] for name, _ in self.people.values()} == dict(
                self.people.values()
            )
        elif self.mode == "insert":
            assert {name for name, _ in self.people.values()} <= set(held)
        elif self.mode == "archive":
            here = {name: {"score": score, "state": "here"} for name, score in self.people.values()}
            assert {name: fields for name, fields in held.items() if fields["state"] == "here"} == here
        else:
            assert {name for name, _ in self.people.values()} <= {
                name for name, _ in self.server.events.values()
            }
            # Each key is one event, however often it was sent.
            assert len({name for name, _ in self.server.events.values()}) == len(self.server.events)
        self.check_tables()

    def check_tables(self) -> None:
        """No run is open, nothing is uncertain or rejected, and the state is the audience."""
        sql = self.project.sql
        runs = "select count(*) from revetl.revetl.sync_runs where {}"
        assert sql(runs.format("status = 'running'")) == [(0,)]
        for name in ("planned", "attempted", "delivered", "rejected", "aborted"):
            for operation in ("add", "update", "remove"):
                assert sql(runs.format(f"{name}_{operation} < 0")) == [(0,)]
        for table in ("sync_intents", "sync_locks", "sync_rejections"):
            assert sql(f"select count(*) from revetl.revetl.{table}") == [(0,)], table
        # Where nobody is removed, an attempt for somebody who has left is nobody's business any more.
        pending = "select key from revetl.revetl.sync_state where pending_operation is not null"
        if self.mode not in ("mirror", "archive"):
            pending += " and key in (select person from vips)"
        assert sql(pending) == []
        state = dict(sql("select key, identifiers ->> 'id' from revetl.revetl.sync_state"))
        now = {key: name for key, (name, _) in self.people.items()}
        assert state == now if self.mode in ("mirror", "archive") else now.items() <= state.items()
        twice = (
            "select run_id, key, operation from revetl.revetl.sync_changes group by all having count(*) > 1"
        )
        assert sql(twice) == []
        assert list((self.root / ".revetl" / "runs").glob("*/*/*")) == []


def tell(seed: int, root: Path, patch: pytest.MonkeyPatch) -> None:
    """Live through a seed's story. A failure says how to see it again."""
    patch.setattr(transport, "_BACK_OFF", wait_exponential_jitter(multiplier=0.01, max=0.1, jitter=0.01))
    chance = random.Random(seed)
    mode = MODES[seed % len(MODES)]
    with chaos(seed) as server:
        config = {"type": "webhook", "url": server.url, "batch_size": 3, "timeout": 0.4, "max_in_flight": 4}
        project = ProjectFolder(root, {"crm": config})
        fields = {"score": "score"}
        sync = {"to": "crm", "mode": mode, "identifiers": {"id": "email"}, "fields": fields, **SYNCS[mode]}
        empty = "select * from (select null, null, null where false) as t (person, email, score)"
        project.audience("vips", empty, {"key": "person", "sync": [sync]})
        story = Story(seed, root, server, mode, project, chance)
        kills = set(chance.sample(range(STEPS), 2))
        try:
            for step in range(STEPS):
                story.next_audience()
                story.run_and_kill() if step in kills else story.run()
            story.end_well()
            story.check()
        except BaseException:
            print(f"seed {seed}, mode {mode}:", *story.told, sep="\n  ")
            raise
