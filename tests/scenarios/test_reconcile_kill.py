"""Repairs that are killed (SIGKILL), and runs that were before one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import duckdb
import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.drift import by_hand, drift_in, readable, readable_shop, reconciled, state
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, synced

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project whose three members are at the destination, which can be read back."""
    return readable_shop(project, sandbox)


PEOPLE = 1_500
MEMBERS = "select 'u' || i as user_id, i % 10 as score from range({}, {}) as numbers (i)"


@pytest.fixture
def slow_shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project that delivers slowly enough to be killed at it."""
    config = readable(sandbox, batch_size=25, max_in_flight=4, requests_per_second=60)
    project.destinations({"crm": config})
    project.audience("vips", MEMBERS.format(0, PEOPLE), META.copy())
    return project


def start(project: ProjectFolder, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "revetl", *arguments]
    return subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill(run: subprocess.Popen[bytes]) -> int:
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode is not None
    return run.returncode


def await_requests(sandbox: SandboxClient, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(sandbox.requests("crm")) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def is_as_the_audience(project: ProjectFolder, sandbox: SandboxClient) -> bool:
    expected = dict(project.sql("select user_id, score from vips"))
    held = {key: fields["score"] for key, fields in sandbox.members("crm", "vips").items()}
    return held == expected == {key: score for key, score, _ in state(project)}


def test_a_repair_killed_while_it_reads_has_changed_nothing(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    drift_in(sandbox)
    sandbox.misbehave({"kind": "slow", "seconds": 30, "times": 1})
    run = start(shop, "reconcile", "vips.crm", "--repair")
    held: list[Any] = []
    deadline = time.monotonic() + 20
    while not held and time.monotonic() < deadline:
        time.sleep(0.3)
        # Once the lease is taken, the warehouse is free: it reads.
        with suppress(duckdb.IOException):
            held = shop.sql("select run_id from revetl.revetl.sync_locks")
    assert held
    assert kill(run) == -signal.SIGKILL
    assert state(shop) == [("u1", 1, None), ("u2", 2, None), ("u3", 3, None)]
    assert cli(shop, "reconcile", "vips.crm", "--repair", "--remove-extra").returncode == 0
    assert not reconciled(shop).drifted


def test_a_repair_killed_while_it_delivers_is_ended_by_any_run(
    slow_shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    assert synced(slow_shop).status == "success"
    by_hand(sandbox, "remove", **{f"u{i}": {} for i in range(400)})
    by_hand(sandbox, "update", **{f"u{i}": {"score": 99} for i in range(400, 800)})
    by_hand(sandbox, "add", **{f"x{i}": {"score": 1} for i in range(100)})
    before = len(sandbox.requests("crm"))
    run = start(slow_shop, "reconcile", "vips.crm", "--repair", "--remove-extra", "--force", "max_change")
    await_requests(sandbox, before + 2 + 10)
    assert kill(run) == -signal.SIGKILL
    assert not is_as_the_audience(slow_shop, sandbox)
    assert cli(slow_shop, "sync", "audience", "vips", "--force", "max_change").returncode == 0
    assert is_as_the_audience(slow_shop, sandbox)
    assert not reconciled(slow_shop).drifted


def test_what_a_dead_run_had_acknowledged_is_booked_before_the_destination_is_read(
    slow_shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    run = start(slow_shop, "sync", "audience", "vips")
    await_requests(sandbox, 8)
    assert kill(run) == -signal.SIGKILL
    assert "was interrupted" in " ".join(reconciled(slow_shop).notes)
    lost = sandbox.requests("crm")[0]["ids"]
    by_hand(sandbox, "remove", **{person: {} for person in lost})
    done = cli(slow_shop, "reconcile", "vips.crm", "--repair", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["there"]["missing"] == len(lost)
    assert is_as_the_audience(slow_shop, sandbox)


def test_repairs_killed_at_random_instants_lose_nothing(
    slow_shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project = slow_shop
    synced(project)
    by_hand(sandbox, "remove", **{f"u{i}": {} for i in range(300)})
    by_hand(sandbox, "update", **{f"u{i}": {"score": 99} for i in range(300, 600)})
    by_hand(sandbox, "add", **{f"x{i}": {"score": 1} for i in range(100)})
    project.audience("vips", MEMBERS.format(100, PEOPLE + 100))
    command = ["reconcile", "vips.crm", "--repair", "--remove-extra", "--force", "max_change"]
    chance = random.Random(2026)
    killed = 0
    for _ in range(8):
        run = start(project, *command)
        time.sleep(chance.uniform(0.3, 1.3))
        killed += kill(run) == -signal.SIGKILL
    final = cli(project, *command)
    assert final.returncode == 0, final.stderr
    assert killed >= 4
    assert is_as_the_audience(project, sandbox)
    assert not reconciled(project).drifted
