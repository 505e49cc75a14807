"""State that survives: lost machines, leases, older tables, another hash."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from revetl.errors import Locked, UsageError
from revetl.sync import run
from revetl.sync.state import leases, machine
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.scenarios.test_kill import MEMBERS, acknowledged, start
from tests.sync.test_sync import META, people, synced

LOCK = "insert into revetl.revetl.sync_locks values ('vips.crm', 'other', ?, ?, ?, ?)"


HERE = machine.this_process().split("/", 2)[2]


def slowly(project: ProjectFolder, sandbox: SandboxClient, rate: float) -> None:
    config = {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 10, "requests_per_second": rate}
    project.destinations({"crm": config})


def in_a_thread(project: ProjectFolder) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(synced(project))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_machine_thrown_away_sends_again_what_no_checkpoint_has(
    project: ProjectFolder, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FOLD_RECORDS", 100)
    slowly(project, sandbox, 40)
    project.audience("vips", MEMBERS.format(shift=0, first=0, last=1_000), META)
    thread, outcome = in_a_thread(project)
    wait_for(lambda: len(acknowledged(sandbox)) >= 60)
    # What another machine knows is the warehouse: its copy at this instant.
    copy = project.root.parent / "elsewhere"
    shutil.copytree(project.root, copy, ignore=shutil.ignore_patterns(".revetl"))
    reached = {person for _, ids in acknowledged(sandbox) for person in ids}
    elsewhere = ProjectFolder.existing(copy)
    kept = {key for (key,) in elsewhere.sql("select key from revetl.revetl.sync_state")}
    assert len(reached - kept) <= 100 + 10 * (8 + 20)  # a checkpoint, what is in flight, a tick's worth
    assert kept <= {f"u{i}" for i in range(1_000)}
    thread.join()
    assert outcome[0].status == "success"


@pytest.mark.slow
def test_a_checkpoint_follows_the_records(
    project: ProjectFolder, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FOLD_RECORDS", 50)
    slowly(project, sandbox, 40)
    project.audience("vips", MEMBERS.format(shift=0, first=0, last=800), META)
    process = start(project)
    thread, outcome = None, None
    wait_for(lambda: len(acknowledged(sandbox)) >= 30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.rmtree(project.root / ".revetl")
    thread, outcome = in_a_thread(project)
    thread.join()
    assert outcome[0].status == "success"
    assert len(sandbox.members("crm", "vips")) == 800


def test_a_holder_that_lost_its_lease_stops_before_its_next_batch(
    project: ProjectFolder, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FOLD_SECONDS", 0.1)
    slowly(project, sandbox, 20)
    project.audience("vips", MEMBERS.format(shift=0, first=0, last=1_000), META)
    thread, outcome = in_a_thread(project)
    wait_for(lambda: len(acknowledged(sandbox)) >= 5)
    project.sql("update revetl.revetl.sync_locks set run_id = 'thief'")
    thread.join(timeout=15)
    (ended,) = outcome
    assert (ended.status, ended.exit_code) == ("lost", 6)
    assert "another run took it" in str(ended.error)
    assert ended.aborted["add"] > 0
    count = len(acknowledged(sandbox))
    assert count < 100
    # What it had sent is in the state, and the other's lease is not given back for it.
    state = {key for (key,) in project.sql("select key from revetl.revetl.sync_state")}
    assert state == {person for _, ids in acknowledged(sandbox) for person in ids}
    assert project.sql("select run_id from revetl.revetl.sync_locks") == [("thief",)]
    project.sql("delete from revetl.revetl.sync_locks")
    slowly(project, sandbox, 10_000)
    assert synced(project).status == "success"
    sent = Counter(person for _, ids in acknowledged(sandbox) for person in ids)
    assert set(sent.values()) == {1}


@pytest.mark.slow
def test_a_lease_that_cannot_be_renewed_holds_sending_back(
    project: ProjectFolder, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent when the lease has run out, until it is renewed."""
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(run, "FOLD_SECONDS", 2.0)
    slowly(project, sandbox, 20)
    project.audience("vips", MEMBERS.format(shift=0, first=0, last=300), META)
    thread, outcome = in_a_thread(project)
    wait_for(lambda: len(acknowledged(sandbox)) >= 3)

    def is_held_back() -> bool:
        before = len(acknowledged(sandbox))
        # At its rate ten requests leave in such a time.
        time.sleep(0.5)
        return len(acknowledged(sandbox)) == before

    wait_for(is_held_back)
    assert len(acknowledged(sandbox)) < 30
    thread.join(timeout=60)
    assert outcome[0].status == "success"


@pytest.mark.parametrize(
    ("host", "process", "minutes", "locked"),
    [
        ("elsewhere", "1/1", 5, True),
        ("elsewhere", "1/1", -1, False),
        (None, f"999999/1/{HERE}", 5, False),
        (None, f"{os.getpid()}/1/{HERE}", 5, False),
        (None, "999999/1", 5, True),
        (None, "999999/1/another-boot:pid:[1]", 5, True),
        ("elsewhere", f"999999/1/{HERE}", 5, True),
    ],
    ids=[
        "another machine's",
        "another machine's that ended",
        "a dead process's of this machine",
        "a dead process's, whose number another has now",
        "an older revetl's, which does not say of which machine",
        "another container's of this hostname",
        "a machine's that was cloned",
    ],
)
def test_whose_lease_counts(
    project: ProjectFolder,
    sandbox: SandboxClient,
    host: str | None,
    process: str,
    minutes: int,
    locked: bool,
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    now = leases.now()
    project.sql(LOCK, host or socket.gethostname(), process, now, now + timedelta(minutes=minutes))
    if locked:
        with pytest.raises(Locked, match=f"run other on {host or socket.gethostname()}"):
            synced(project)
    else:
        assert synced(project).status == "success"


def test_tables_of_an_older_revetl_are_brought_forward(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    for table, column in (
        ("sync_runs", "stopped_by"),
        ("sync_runs", "attempted_add"),
        ("sync_rejections", "field"),
        ("sync_rejections", "answer"),
    ):
        project.sql(f"alter table revetl.revetl.{table} drop column {column}")
    for table in ("sync_changes", "suppressions", "model_builds", "state_version", "audience_holdouts"):
        project.sql(f"drop table revetl.revetl.{table}")
    (plan,) = project.open().plan("vips")
    assert plan.changes == 0
    assert project.open().rejections() == []
    project.audience("vips", people(("u2", 2), ("u3", 3)))
    assert synced(project).delivered == {"add": 1, "update": 0, "remove": 1}
    assert project.sql("select count(*) from revetl.revetl.sync_changes") == [(2,)]
    ((version, made_by),) = project.sql("select version, revetl_version from revetl.revetl.state_version")
    assert (version, bool(made_by)) == (6, True)


@pytest.mark.parametrize("ask", ["sync", "plan", "status"])
def test_tables_of_a_newer_revetl_are_left_alone(
    project: ProjectFolder, sandbox: SandboxClient, ask: str
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.sql("update revetl.revetl.state_version set version = 99, revetl_version = '9.9'")
    opened = project.open()
    asks: dict[str, Callable[[], object]] = {
        "sync": lambda: opened.sync("vips"),
        "plan": lambda: opened.plan("vips"),
        "status": opened.status,
    }
    with pytest.raises(UsageError, match=r"created by revetl 9\.9; .* Upgrade revetl\."):
        asks[ask]()


def test_old_changes_are_forgotten(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.sql("update revetl.revetl.sync_changes set changed_at = changed_at - interval 91 day")
    project.audience("vips", people(("u2", 1)))
    synced(project)
    assert sorted(project.sql("select key, operation from revetl.revetl.sync_changes")) == [
        ("u1", "remove"),
        ("u2", "add"),
    ]


def test_what_was_not_attempted_is_kept_as_aborted(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations(
        {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 2, "max_in_flight": 1}}
    )
    sandbox.misbehave({"kind": "status", "status": 401})
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META)
    ended = synced(project)
    assert (ended.attempted["add"], ended.aborted["add"]) == (0, 3)
    assert project.sql("select distinct outcome, count(*) from revetl.revetl.sync_changes group by 1") == [
        ("aborted", 3)
    ]
