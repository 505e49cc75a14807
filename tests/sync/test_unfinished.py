"""What a run cut short was already allowed to do is not judged by the guards again."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from revetl.sync.run import Progress
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.scenarios.test_kill import acknowledged, start
from tests.scenarios.test_lost import lose_all
from tests.sync.test_sync import META, synced

MEMBERS = "select 'u' || i as user_id, i + {shift} as score from range({first}, {last}) as numbers (i)"
UNKNOWN = "update revetl.revetl.sync_state set row_hash = null, pending_run_id = run_id, "


def members(last: int, first: int = 0, shift: int = 0) -> str:
    return MEMBERS.format(first=first, last=last, shift=shift)


class Refusing:
    """Has the sandbox refuse the credentials once so many records were answered."""

    def __init__(self, sandbox: SandboxClient, after: int) -> None:
        self._sandbox, self._left = sandbox, after

    def __call__(self, records: int) -> None:
        before, self._left = self._left, self._left - records
        if before > 0 >= self._left:
            self._sandbox.misbehave({"kind": "status", "status": 401})


def slow_webhook(sandbox: SandboxClient) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 100, "max_in_flight": 1}


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["lost", "kept"])
def test_a_killed_first_run_of_more_than_a_thousand_changes_goes_on_by_itself(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, disk: str
) -> None:
    project.destinations({"crm": slow_webhook(sandbox)})
    project.audience("vips", members(1_500), META)
    sandbox.misbehave({"kind": "slow", "seconds": 0.1})
    process = start(project)
    deadline = time.monotonic() + 20
    while len(acknowledged(sandbox)) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sandbox.behave()
    if disk == "lost":
        lose_all(project.root / ".revetl" / "runs")
    done = cli(project, "sync", "audience", "vips")
    assert done.returncode == 0, done.stderr
    assert len(sandbox.members("crm", "vips")) == 1_500
    assert "nothing changed" in cli(project, "sync", "audience", "vips").stdout


def test_a_first_run_that_was_refused_half_way_goes_on_by_itself(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": slow_webhook(sandbox)})
    project.audience("vips", members(4_000), META)
    first = synced(project, progress=Progress(on_records=Refusing(sandbox, after=1_200)))
    assert (first.status, first.delivered["add"] >= 1_200, first.aborted["add"] > 1_200) == (
        "refused",
        True,
        True,
    )
    assert synced(project).status == "refused"
    sandbox.behave()
    assert synced(project).status == "success"
    assert len(sandbox.members("crm", "vips")) == 4_000


@pytest.mark.parametrize(
    ("pending", "audience", "stopped_by"),
    [
        # An outcome nobody knows: sent again as it was, or as the model has it by now.
        ("pending_operation = 'update', pending_hash = 1", members(2_000), None),
        ("pending_operation = 'update', pending_hash = 1", members(2_000, shift=1), None),
        ("pending_operation = 'add', pending_hash = 1", members(2_000), None),
        ("pending_operation = 'remove' where fields like '%1___}'", members(1_000), None),
        # They were held, and somebody decided something else since.
        ("pending_operation = 'update', pending_hash = 1", members(1_300), "max_change"),
        ("pending_operation = 'update', pending_hash = 1", members(0), "empty"),
        # Never acknowledged: nobody is held, and nothing is a change to be stopped.
        ("pending_operation = 'add', pending_hash = 1, acknowledged_at = null", members(0), None),
        ("pending_operation = 'add', pending_hash = 1, acknowledged_at = null", members(4_000, 2_000), None),
    ],
)
def test_pending_rows_count_as_what_they_are(
    project: ProjectFolder, pending: str, audience: str, stopped_by: str | None
) -> None:
    project.audience("vips", members(2_000), META)
    synced(project)
    project.sql(UNKNOWN + pending)
    project.audience("vips", audience)
    (plan,) = project.open().plan("vips")
    assert plan.changes > 600
    assert next((stop.guard for stop in plan.stops), None) == stopped_by


def test_a_large_change_beside_pending_rows_is_still_stopped(project: ProjectFolder) -> None:
    project.audience("vips", members(2_000), META)
    synced(project)
    project.sql(UNKNOWN + "pending_operation = 'update', pending_hash = 1 where key like 'u1%'")
    project.audience("vips", members(1_300))
    stopped = synced(project)
    assert stopped.stopped_by == "max_change"
    assert "700 changes (0 adds, 0 updates, 700 removes) are 35% of the 2,000" in (stopped.error or "")
