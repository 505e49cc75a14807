"""Replays that are paused, resumed, canceled and limited to hours, and the files they write."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from revetl.errors import UsageError, WarehouseError
from revetl.sync.replay.request import Hours
from revetl.sync.replay.store import Replay
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.replay.test_replay import MANY, events_at, shop


@pytest.fixture
def slow(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project whose replay takes twelve seconds."""
    crm = {"type": "webhook", "batch_size": 1, "max_in_flight": 1, "requests_per_second": 5}
    return shop(project, sandbox, MANY, crm=crm)


def start(project: ProjectFolder, *more: str) -> subprocess.Popen[str]:
    """A replay in a process that looks every half second whether it is to pause."""
    code = "import revetl.sync.replay.run as run; run.NOTE_SECONDS = 0.5; from revetl.cli import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code, "replay", "--to", "crm", "-o", "json", *more]
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, said = process.communicate(timeout=120)
    assert out, said
    return process.returncode, json.loads(out)


def replay_at_work(project: ProjectFolder, is_at_work: Callable[[], bool]) -> str:
    """The id of the replay, once it is at work."""
    deadline = time.monotonic() + 60
    while not is_at_work() and time.monotonic() < deadline:
        time.sleep(0.05)
    (replay,) = project.open().replays()
    return replay.replay_id


def test_a_running_replay_is_paused_and_resumed(
    slow: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    process = start(slow)
    replay_id = replay_at_work(slow, lambda: bool(events_at(sandbox, "crm")))
    slow.open().ask_replay(replay_id, "pause")
    code, paused = ended(process)
    assert (code, paused["status"], paused["replay"]["status"]) == (0, "paused", "paused")
    held = len(events_at(sandbox, "crm"))
    assert 0 < held < 60
    listed = cli(slow, "replays", "list")
    assert replay_id in listed.stdout
    assert "paused" in listed.stdout
    done = slow.open().resume_replay(replay_id)
    assert (done.replay.status, done.run.delivered) == ("success", {"add": 60 - held})
    assert sorted(str(each["message_id"]) for each in events_at(sandbox, "crm")) == sorted(
        each["messageId"] for each in MANY
    )


def test_a_canceled_replay_is_over(slow: ProjectFolder, sandbox: SandboxClient) -> None:
    process = start(slow)
    replay_id = replay_at_work(slow, lambda: bool(events_at(sandbox, "crm")))
    slow.open().ask_replay(replay_id, "cancel")
    assert ended(process)[1]["replay"]["status"] == "canceled"
    with pytest.raises(UsageError, match="is canceled, so there is nothing to resume"):
        slow.open().resume_replay(replay_id)
    with pytest.raises(UsageError, match="is canceled: there is nothing to pause"):
        slow.open().ask_replay(replay_id, "pause")


def test_a_replay_waits_for_its_hours(project: ProjectFolder, sandbox: SandboxClient) -> None:
    shop(project, sandbox, MANY)
    later = datetime.now(UTC) + timedelta(hours=5)
    process = start(project, "--between", f"{later:%H:%M}-{later + timedelta(minutes=1):%H:%M}")
    replay_id = replay_at_work(project, lambda: bool(there(project)))
    time.sleep(2)
    assert process.poll() is None
    project.open().ask_replay(replay_id, "cancel")
    assert ended(process)[1]["replay"]["status"] == "canceled"
    assert sandbox.requests("crm") == []


def there(project: ProjectFolder) -> list[Replay]:
    try:
        return project.open(lock_timeout=0).replays()
    except WarehouseError:
        # The replay is writing.
        return []


@pytest.mark.parametrize(
    ("hours", "at", "is_within", "wait"),
    [
        ("01:00-05:00", "2026-01-01T03:00", True, 22 * 3600),
        ("01:00-05:00", "2026-01-01T05:00", False, 20 * 3600),
        ("01:00-05:00", "2026-01-01T00:30", False, 1800),
        ("22:00-06:00", "2026-01-01T23:00", True, 23 * 3600),
        ("22:00-06:00", "2026-01-01T05:59", True, 16 * 3600 + 60),
        ("22:00-06:00", "2026-01-01T12:00", False, 10 * 3600),
    ],
)
def test_hours_may_span_midnight(hours: str, at: str, is_within: bool, wait: float) -> None:
    found, moment = Hours.read(hours), datetime.fromisoformat(at)
    assert (found.has(moment), found.seconds_until(moment)) == (is_within, wait)


def test_a_lower_rate_is_kept(project: ProjectFolder, sandbox: SandboxClient) -> None:
    shop(project, sandbox, MANY, crm={"type": "webhook", "batch_size": 5, "max_in_flight": 1})
    plan = project.open().plan_replay("crm", requests_per_second=4)
    assert plan.minutes == pytest.approx(12 / 4 / 60)
    began = time.monotonic()
    project.open().replay("crm", requests_per_second=4)
    assert time.monotonic() - began >= 0.8 * 11 / 4


def test_a_replay_to_files_is_a_complete_export(project: ProjectFolder, sandbox: SandboxClient) -> None:
    shop(project, sandbox, MANY, export={"type": "file", "path": "exports", "format": "parquet"})
    done = project.open().replay("export")
    assert done.run.delivered == {"add": 60}
    files = f"{project.root}/exports/**/*.parquet"
    query = f"select _change_id, user_id from read_parquet('{files}', union_by_name = true)"
    rows = duckdb.execute(query).fetchall()
    assert sorted(rows) == sorted((each["messageId"], each["userId"]) for each in MANY)


def test_a_replay_to_a_table_is_a_complete_export(project: ProjectFolder, sandbox: SandboxClient) -> None:
    output = {"type": "duckdb", "path": "house.duckdb"}
    house = {"type": "sql", "connection": output, "table": "tracks", "create": True, "retries": 1}
    shop(project, sandbox, MANY, house=house)
    for _ in range(2):
        done = project.open().replay("house")
        assert (done.run.error, done.run.delivered) == (None, {"add": 60})
    with duckdb.connect(str(project.root / "house.duckdb")) as connection:
        rows = connection.execute(
            "select message_id, user_id, event, properties ->> 'order_id' from tracks"
        ).fetchall()
    assert sorted(rows) == sorted(
        (each["messageId"], each["userId"], each["event"], each["properties"]["order_id"]) for each in MANY
    )
