"""Runs that are killed (SIGKILL) at random instants, and two runs of one sync at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.sync.test_sync import META

PEOPLE = 3_000
BATCH = 50
IN_FLIGHT = 4
MEMBERS = (
    "select 'u' || i as user_id, (i * 7) % 100 + {shift} as score from range({first}, {last}) as numbers (i)"
)


def start(project: ProjectFolder, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "revetl", "sync", "audience", "vips", *arguments]
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def acknowledged(sandbox: SandboxClient) -> list[tuple[str, tuple[str, ...]]]:
    """The batches that were applied, in order."""
    return [(e["operation"], tuple(e["ids"])) for e in sandbox.requests("crm") if e["applied"]]


@pytest.fixture
def slow_project(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project that delivers slowly enough to be killed at it."""
    config = {
        "type": "webhook",
        "url": f"{sandbox.url}/crm",
        "batch_size": BATCH,
        "max_in_flight": IN_FLIGHT,
        "requests_per_second": 60,
    }
    project.destinations({"crm": config})
    return project


@pytest.mark.slow
def test_runs_killed_at_ten_random_instants_lose_nothing(
    slow_project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project = slow_project
    project.audience("vips", MEMBERS.format(shift=0, first=0, last=PEOPLE), META)
    assert cli(project, "sync", "audience", "vips").returncode == 0
    # A third leaves, a third changes, a third is new.
    third = PEOPLE // 3
    project.audience("vips", MEMBERS.format(shift=1, first=third, last=PEOPLE + third))
    before = len(acknowledged(sandbox))
    chance = random.Random(2026)
    killed = 0
    for number in range(10):
        sent = len(sandbox.requests("crm"))
        run = start(project, "--force", "max_change")
        # Every second one is surely at it, however slow the machine is.
        while number % 2 and len(sandbox.requests("crm")) == sent and run.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5) if number % 2 else chance.uniform(0.3, 1.4))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
    final = cli(project, "sync", "audience", "vips", "--force", "max_change")
    assert final.returncode == 0, final.stderr
    assert killed >= 5

    expected = dict(project.sql("select user_id, score from vips"))
    held = {person: fields["score"] for person, fields in sandbox.members("crm", "vips").items()}
    assert held == expected
    state = dict(project.sql("select key, (fields ->> 'score')::int from revetl.revetl.sync_state"))
    assert state == expected
    assert project.sql("select count(pending_operation) from revetl.revetl.sync_state") == [(0,)]

    times_sent = Counter(
        (operation, person) for operation, ids in acknowledged(sandbox)[before:] for person in ids
    )
    assert {person for operation, person in times_sent if operation == "remove"} == {
        f"u{i}" for i in range(third)
    }
    repeated = sum(times - 1 for times in times_sent.values())
    assert repeated <= killed * IN_FLIGHT * BATCH
    order = [operation for operation, _ in acknowledged(sandbox)[before:]]
    assert order.index("update") > order.index("remove")
    assert order.index("add") > len(order) - 1 - order[::-1].index("remove")

    assert "nothing changed" in cli(project, "sync", "audience", "vips").stdout
    crashed = project.sql(
        "select count(*) from revetl.revetl.sync_runs where status in ('running', 'crashed')"
    )
    assert 0 < crashed[0][0] <= killed
    assert project.sql("select count(*) from revetl.revetl.sync_runs where status = 'running'") == [(0,)]
    assert list((project.root / ".revetl" / "runs" / "dev" / "vips.crm").glob("*")) == []


@pytest.mark.slow
def test_the_second_of_two_runs_at_once_exits_6(
    slow_project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    slow_project.audience("vips", MEMBERS.format(shift=0, first=0, last=PEOPLE), META)
    # One answer is long in coming, so that the first run is surely there when the second starts.
    sandbox.misbehave({"kind": "slow", "seconds": 4, "times": 1})
    first = start(slow_project)
    deadline = time.monotonic() + 20
    while not sandbox.requests("crm") and time.monotonic() < deadline:
        time.sleep(0.02)
    second = cli(slow_project, "sync", "audience", "vips")
    _, errors = first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 6), errors
    assert f"(process {first.pid})" in second.stderr
    sent = Counter(person for _, ids in acknowledged(sandbox) for person in ids)
    assert set(sent.values()) == {1}
    assert len(sent) == PEOPLE


@pytest.mark.parametrize("number", first_fast([signal.SIGTERM, signal.SIGINT]), ids=["SIGTERM", "SIGINT"])
def test_an_interrupted_run_ends_in_order_and_the_next_goes_on(
    slow_project: ProjectFolder, sandbox: SandboxClient, cli: Cli, number: signal.Signals
) -> None:
    slow_project.audience("vips", MEMBERS.format(shift=0, first=0, last=PEOPLE), META)
    first = start(slow_project)
    deadline = time.monotonic() + 20
    while len(sandbox.requests("crm")) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(number)
    output, errors = first.communicate(timeout=30)
    assert first.returncode == 128 + number, errors
    assert "changes remain" in errors
    assert "interrupted" in output
    assert cli(slow_project, "sync", "audience", "vips").returncode == 0
    sent = Counter(person for _, ids in acknowledged(sandbox) for person in ids)
    assert set(sent.values()) == {1}
    assert len(sandbox.members("crm", "vips")) == PEOPLE
