"""A run whose machine, or whose journal, is lost: the warehouse knows what it was about to send."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.scenarios.test_kill import acknowledged, start
from tests.sync.test_sync import EMAIL, META, people, synced


def killed_when_delivered(project: ProjectFolder, sandbox: SandboxClient, requests: int = 1) -> None:
    """A run that delivers all it has, and is killed before any of it is booked."""
    before = len(acknowledged(sandbox))
    # The last request is slow, so that the run is surely still at it.
    project_config = {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 1, "max_in_flight": 1}
    project.destinations({"crm": project_config})
    process = start(project)
    deadline = time.monotonic() + 20
    while len(acknowledged(sandbox)) < before + requests and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What is under way at the destination is applied however its sender ended.
    time.sleep(0.8)
    assert len(acknowledged(sandbox)) >= before + requests


def lose_all(runs: Path) -> None:
    shutil.rmtree(runs)


def cut_the_journal(runs: Path) -> None:
    for file in runs.rglob("journal.sqlite"):
        file.write_bytes(file.read_bytes()[:100])
    for file in runs.rglob("journal.sqlite-*"):
        file.unlink()


def garble_the_journal(runs: Path) -> None:
    for file in runs.rglob("journal.sqlite*"):
        file.write_bytes(b"nonsense" * 100)


def empty_the_journal(runs: Path) -> None:
    for file in runs.rglob("journal.sqlite-*"):
        file.unlink()
    for file in runs.rglob("journal.sqlite"):
        file.write_bytes(b"")


def unlink_the_journal(runs: Path) -> None:
    for file in runs.rglob("journal.sqlite*"):
        file.unlink()


def cut_the_spool(runs: Path) -> None:
    for file in runs.rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-9])


def cut_the_note(runs: Path) -> None:
    for file in runs.rglob("run.json"):
        file.write_bytes(b'{"run_id"')


LOSSES = [
    lose_all,
    cut_the_journal,
    garble_the_journal,
    empty_the_journal,
    unlink_the_journal,
    cut_the_spool,
    cut_the_note,
]


@pytest.mark.parametrize(
    "lose",
    [LOSSES[0], *(pytest.param(lose, marks=pytest.mark.slow) for lose in LOSSES[1:])],
    ids=lambda lose: lose.__name__,
)
def test_whom_a_lost_run_added_and_who_left_since_is_removed(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, lose: Callable[[Path], None]
) -> None:
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META)
    killed_when_delivered(project, sandbox)
    sandbox.behave()
    lose(project.root / ".revetl" / "runs")
    project.audience("vips", people(("u3", 3), ("u4", 4)))
    done = cli(project, "sync", "audience", "vips", "--force", "max_change")
    assert done.returncode == 0, done.stderr
    assert set(sandbox.members("crm", "vips")) == {"u3", "u4"}
    assert sorted(project.sql("select key from revetl.revetl.sync_state")) == [("u3",), ("u4",)]
    assert project.sql("select status from revetl.revetl.sync_runs order by started_at") == [
        ("crashed",),
        ("success",),
    ]
    assert project.sql("select * from revetl.revetl.sync_intents") == []
    assert "nothing changed" in cli(project, "sync", "audience", "vips").stdout


@pytest.mark.slow
def test_whom_a_lost_run_removed_and_who_came_back_unchanged_is_added(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.audience("vips", people(("u2", 2)))
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    killed_when_delivered(project, sandbox)
    sandbox.behave()
    lose_all(project.root / ".revetl" / "runs")
    project.audience("vips", people(("u1", 1), ("u2", 2)))
    assert cli(project, "sync", "audience", "vips").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}


@pytest.mark.slow
def test_a_value_that_a_lost_run_changed_and_that_changed_back_is_sent(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.audience("vips", people(("u1", 100), ("u2", 2)))
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    killed_when_delivered(project, sandbox)
    sandbox.behave()
    assert sandbox.members("crm", "vips")["u1"] == {"score": 100}
    lose_all(project.root / ".revetl" / "runs")
    project.audience("vips", people(("u1", 1), ("u2", 2)))
    assert cli(project, "sync", "audience", "vips").returncode == 0
    assert sandbox.members("crm", "vips")["u1"] == {"score": 1}


@pytest.mark.slow
@pytest.mark.parametrize("requests", [1, 2], ids=["after the remove", "after the add"])
def test_a_changed_identifier_of_a_lost_run_leaves_no_double(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, requests: int
) -> None:
    columns = "person, email, score"
    project.audience("vips", people(("p1", "old@x", 1), columns=columns), EMAIL)
    synced(project)
    project.audience("vips", people(("p1", "new@x", 1), columns=columns))
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    killed_when_delivered(project, sandbox, requests)
    sandbox.behave()
    lose_all(project.root / ".revetl" / "runs")
    assert cli(project, "sync", "audience", "vips").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"new@x"}
    assert project.sql("select key from revetl.revetl.sync_state") == [("p1",)]
    assert "nothing changed" in cli(project, "sync", "audience", "vips").stdout


@pytest.mark.slow
def test_what_a_machine_that_comes_back_has_left_is_not_booked_over_what_was_done_since(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    killed_when_delivered(project, sandbox)
    sandbox.behave()
    runs = project.root / ".revetl" / "runs"
    runs.rename(project.root / "disk")
    project.audience("vips", people(("u2", 2)))
    assert cli(project, "sync", "audience", "vips").returncode == 0
    shutil.rmtree(runs)
    (project.root / "disk").rename(runs)
    assert "nothing changed" in cli(project, "sync", "audience", "vips").stdout
    assert project.sql("select key from revetl.revetl.sync_state") == [("u2",)]
    assert list(runs.glob("dev/vips.crm/*")) == []
