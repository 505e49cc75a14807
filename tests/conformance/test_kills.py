"""Runs on every engine that are killed, and two at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META

pytestmark = pytest.mark.slow

PEOPLE = 600
BATCH = 20
IN_FLIGHT = 2
KILLS = 4
WAIT_SECONDS = 120
MEMBERS = "select 'u' || i as user_id, (i * 7) % 100 + {shift} as score from ({numbers}) as numbers"


def members(shift: int, first: int) -> str:
    """An audience's query, as every engine has it."""
    tens = " cross join ".join(
        f"(select {10**place} * d as {name} from (values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) as t (d))"
        f" as t{place}"
        for place, name in enumerate(("a", "b", "c"))
    )
    numbers = (
        f"select i from (select a + b + c as i from {tens}) as n where i >= {first} and i < {first + PEOPLE}"
    )
    return MEMBERS.format(shift=shift, numbers=numbers)


@pytest.fixture
def crm(engine: str, tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    config = {
        "type": "webhook",
        "url": f"{sandbox.url}/crm",
        "batch_size": BATCH,
        "max_in_flight": IN_FLIGHT,
        "requests_per_second": 20,
    }
    return ProjectFolder(tmp_path / "shop", {"crm": config}, engine)


def start(project: ProjectFolder) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-W", "ignore", "-m", "revetl", "sync", "audience", "vips", "--force", "max_change",
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until_sent(sandbox: SandboxClient, requests: int, run: subprocess.Popen[str]) -> None:
    """Wait until so many requests have come, or the run is at its end."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(sandbox.requests("crm")) < requests and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def test_killed_runs_lose_nothing(crm: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    crm.audience("vips", members(shift=0, first=0), META)
    assert cli(crm, "sync", "audience", "vips").returncode == 0
    third = PEOPLE // 3
    crm.audience("vips", members(shift=1, first=third))
    before = len(sandbox.requests("crm"))
    chance = random.Random(2026)
    killed = 0
    for _ in range(KILLS):
        run = start(crm)
        until_sent(sandbox, len(sandbox.requests("crm")) + chance.randrange(1, 8), run)
        time.sleep(chance.uniform(0, 0.3))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
    final = cli(crm, "sync", "audience", "vips", "--force", "max_change")
    assert final.returncode == 0, final.stderr
    assert killed >= KILLS // 2

    expected = dict(crm.sql(f"select user_id, score from {crm.backend.schema}.vips"))
    assert {who: fields["score"] for who, fields in sandbox.members("crm", "vips").items()} == expected
    held = crm.sql("select key, pending_operation from revetl.revetl.sync_state")
    assert sorted(held) == [(key, None) for key in sorted(expected)]
    sent = Counter(
        (each["operation"], person)
        for each in sandbox.requests("crm")[before:]
        if each["applied"]
        for person in each["ids"]
    )
    assert sum(times - 1 for times in sent.values()) <= killed * IN_FLIGHT * BATCH
    assert "nothing changed" in cli(crm, "sync", "audience", "vips").stdout


def test_the_second_of_two_runs_at_once_exits_6(crm: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    crm.audience("vips", members(shift=0, first=0), META)
    first = start(crm)
    until_sent(sandbox, 1, first)
    # One answer is long in coming, so that the first run is surely there when the second begins.
    seconds = 25 if crm.backend.type == "spark" else 5
    sandbox.misbehave({"kind": "slow", "seconds": seconds, "times": 1})
    second = cli(crm, "sync", "audience", "vips")
    _, errors = first.communicate(timeout=WAIT_SECONDS)
    assert (first.returncode, second.returncode) == (0, 6), errors + second.stderr
    sent = Counter(person for each in sandbox.requests("crm") if each["applied"] for person in each["ids"])
    assert set(sent.values()) == {1}
    assert len(sent) == PEOPLE
