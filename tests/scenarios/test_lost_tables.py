"""State tables that somebody dropped: they are created again, and what is lost with them is said."""

from __future__ import annotations

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people, synced

TABLES = [
    "sync_runs",
    "sync_changes",
    "sync_rejections",
    "sync_intents",
    "sync_locks",
    "audience_holdouts",
    "suppressions",
    "model_builds",
    "audience_changes",
]


def test_tables_that_were_dropped_are_created_again_with_a_warning_each(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    for name in TABLES:
        project.sql(f"drop table revetl.revetl.{name}")
    project.audience("vips", people(("u2", 2), ("u3", 3)))
    done = cli(project, "sync", "audience", "vips")
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert f"Warning: revetl.{name} was missing; created it again, empty. " in done.stderr
    assert set(sandbox.members("crm", "vips")) == {"u2", "u3"}
    assert cli(project, "sync", "audience", "vips").stderr == ""


@pytest.mark.parametrize(
    "lose", ["drop table revetl.revetl.sync_state", "delete from revetl.revetl.sync_state"]
)
def test_a_lost_state_stops_until_somebody_decides(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, lose: str
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.sql(lose)
    project.audience("vips", people(("u2", 2), ("u3", 3)))
    assert "the destination had 2" in cli(project, "plan", "audience", "vips").stdout
    # It does not pass because it was stopped before.
    for _ in range(2):
        stopped = cli(project, "sync", "audience", "vips")
        assert stopped.returncode == 3
        assert "members who left cannot be removed" in stopped.stderr
        assert "--full-refresh" in stopped.stderr
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    status = cli(project, "status")
    assert (status.returncode, "vips.crm" in status.stdout) == (0, True)
    refreshed = cli(project, "sync", "audience", "vips", "--full-refresh")
    assert refreshed.returncode == 0, refreshed.stderr
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2", "u3"}
    project.audience("vips", people(("u3", 3)))
    assert cli(project, "sync", "audience", "vips").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u1", "u3"}


def test_an_audience_that_was_emptied_in_order_is_no_lost_state(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.audience("vips", people(("u1", 1)) + " where score > 1")
    assert synced(project, force=["empty"]).delivered["remove"] == 1
    project.audience("vips", people(("u1", 1)))
    assert synced(project).delivered["add"] == 1


def test_an_audience_whose_last_people_were_suppressed_behind_a_guard_is_no_lost_state(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.sql(
        "insert into revetl.revetl.suppressions values ('user_id', 'u1', 'asked', timestamp '2026-01-01')"
    )
    project.audience("vips", people(("u1", 1)) + " where score > 1")
    stopped = synced(project)
    assert (stopped.stopped_by, stopped.delivered["remove"]) == ("empty", 1)
    project.audience("vips", people(("u2", 1)))
    assert synced(project).delivered["add"] == 1
