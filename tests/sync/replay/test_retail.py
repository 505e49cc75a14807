"""The online retail example replayed: exactly its events, each once, through kills and failures."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.staged import Message, facts, retail, stage
from tests.sync.replay.test_replay import DESTINATIONS, destinations, events_at

SLICE = 3_000
KILLS = 5


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return [each for each in retail() if each["type"] == "track"]


def start(project: ProjectFolder, to: str, *more: str) -> subprocess.Popen[str]:
    """The command in a process, with slices that are small enough to be several."""
    code = (
        f"import revetl.sync.replay.run as run; run.SLICE_MESSAGES = {SLICE}; "
        "from revetl.cli import main; main()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, "replay", "--to", to, "-q", *more]
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_at(
    sandbox: SandboxClient, to: str, process: subprocess.Popen[str], requests: int, longest: float = 120
) -> bool:
    """Kill a process when so many more requests have come; whether it was still at work then."""
    before = len(sandbox.requests(to))
    deadline = time.monotonic() + longest
    while process.poll() is None and time.monotonic() < deadline:
        if len(sandbox.requests(to)) >= before + requests:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.01)
    process.communicate()
    return False


def revenue(held: list[dict[str, Any]], event: str) -> float:
    """What orders came to."""
    names = ("revenue", "total", "$revenue")
    return round(
        sum(
            abs(float(next(each["properties"][name] for name in names if name in each["properties"])))
            for each in held
            if each["event"] == event
        ),
        2,
    )


@pytest.mark.parametrize(
    ("to", "share"),
    [
        pytest.param("crm", 0.05, marks=pytest.mark.long),
        *[
            pytest.param(to, share, marks=pytest.mark.long)
            for to in ("mixpanel", "amplitude", "segment")
            for share in (0.02, 0.2)
        ],
    ],
)
def test_exactly_the_events_arrive_after_kills_and_failures(
    project: ProjectFolder, sandbox: SandboxClient, messages: list[Message], to: str, share: float
) -> None:
    slow = {**DESTINATIONS[to], "requests_per_second": 40, "retries": 8}
    limits = {"crm": {"batch_size": 200}}.get(to, {})
    config = destinations(sandbox)
    config[to] = {**config[to], **slow, **limits}
    project.destinations(config)
    stage(project, messages)
    sandbox.misbehave(
        {"destination": to, "kind": "status", "status": 503, "probability": share / 2},
        {"destination": to, "kind": "drop", "when": "after", "probability": share / 2},
    )
    chance = random.Random(28)
    kills = 0
    while kills < KILLS:
        if not kill_at(sandbox, to, start(project, to), chance.randrange(1, 6)):
            break
        kills += 1
    for _ in range(40):
        ended = start(project, to)
        _, said = ended.communicate(timeout=300)
        assert ended.returncode in (0, 4), said
        if ended.returncode == 0:
            break
    assert ended.returncode == 0
    held, known = events_at(sandbox, to), facts()
    assert kills >= 2
    assert Counter(each["message_id"] for each in held) == Counter(each["messageId"] for each in messages)
    assert Counter(each["event"] for each in held) == {
        "Order Completed": known["orders"],
        "Order Refunded": known["refunds"],
    }
    assert revenue(held, "Order Completed") == known["revenue_of_orders"]
    assert revenue(held, "Order Refunded") == known["refunded"]
    (replay,) = project.open().replays()
    assert (replay.status, replay.delivered, replay.remaining) == ("success", len(messages), 0)
    assert not list((Path(project.root) / ".revetl" / "replays").glob("*/*/*"))
    kinds = {
        kind for (kind,) in project.sql(f"select kind from revetl.{project.backend.state_schema}.sync_runs")
    }
    assert kinds == {"replay"}


@pytest.mark.slow
def test_what_is_delivered_adds_up_where_events_are_not_recognized(
    project: ProjectFolder, sandbox: SandboxClient, messages: list[Message]
) -> None:
    """Braze has no ids of events: after a kill, only what was in flight may be there twice."""
    config = destinations(sandbox)
    config["braze"]["requests_per_second"] = 60
    project.destinations(config)
    known = [each for each in messages if "userId" in each][:2_000]
    simple = [{**each, "properties": {"order_id": each["properties"]["order_id"]}} for each in known]
    stage(project, [{**each, "event": f"Ordered {each['messageId']}"} for each in simple])
    kills = sum(kill_at(sandbox, "braze", start(project, "braze"), requests) for requests in (3, 5))
    ended = start(project, "braze")
    _, said = ended.communicate(timeout=300)
    assert ended.returncode == 0, said
    assert kills == 2
    counts = Counter(each["event"] for each in events_at(sandbox, "braze"))
    assert counts.keys() == {f"Ordered {each['messageId']}" for each in known}
    in_flight = 8 * 75
    assert sum(counts.values()) - len(counts) <= kills * in_flight
    assert json.dumps(project.open().plan_replay("braze", again=True).notes).count("counted twice") == 1
