"""What stops a run before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.runner.test_sync import META, people, synced
from tests.support.project import ProjectFolder

MANY = "select 'u' || i as user_id, i as score from range({}) as numbers (i)"


def test_null_and_repeated_keys_are_shown_and_nothing_is_sent(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u1", 2), ("u2", 3), (None, 4)), META)
    run = synced(project)
    assert (run.status, run.exit_code) == ("stopped", 3)
    assert run.error == (
        "vips.crm: 1 rows have no user_id (4) and 1 rows repeat a user_id that another row has "
        "(u1 (2 rows)). "
        "A key has to name one row: mend the model, and give the key `unique` and `not_null` tests."
    )
    assert sandbox.requests("crm") == []


@pytest.mark.parametrize("mode", ["mirror", "upsert"])
@pytest.mark.parametrize("repeated", ["u1", "u5"], ids=["a key that is held", "a new key"])
def test_a_repeated_key_is_found_whatever_is_held(project: ProjectFolder, mode: str, repeated: str) -> None:
    meta = {"key": "user_id", "sync": [{"to": "crm", "mode": mode}]}
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), meta)
    synced(project)
    project.audience("vips", people(("u1", 1), ("u2", 2), (repeated, 1), ("u5", 5)))
    run = synced(project)
    assert run.status == "stopped"
    assert run.error is not None
    assert f"1 rows repeat a user_id that another row has ({repeated} (2 rows))" in run.error


def test_too_large_a_change(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", MANY.format(2_000), META)
    synced(project)
    project.audience("vips", MANY.format(1_300))
    stopped = synced(project)
    assert (stopped.status, stopped.exit_code) == ("stopped", 3)
    assert stopped.error is not None
    assert "700 removes) are 35% of the 2,000 the destination holds, and max_change is 30%" in stopped.error
    assert len(sandbox.members("crm", "vips")) == 2_000
    assert synced(project, force=["max_change"]).delivered["remove"] == 700
    assert project.sql("select forced from revetl.revetl.sync_runs where forced is not null") == [
        ("max_change",)
    ]


def test_a_small_audience_may_change_whole(project: ProjectFolder) -> None:
    project.audience("vips", MANY.format(500), META)
    synced(project)
    project.audience("vips", MANY.format(10))
    assert synced(project).delivered["remove"] == 490


def test_an_audience_that_became_empty(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.audience("vips", MANY.format(0))
    assert (synced(project).status, len(sandbox.members("crm", "vips"))) == ("stopped", 1)
    assert synced(project, force=["empty"]).delivered["remove"] == 1


@pytest.mark.parametrize(
    ("status", "outcome"), [("pass", "success"), ("fail", "stopped"), ("error", "stopped")]
)
def test_the_audiences_dbt_tests(project: ProjectFolder, status: str, outcome: str) -> None:
    project.audience("vips", people(("u1", 1)), META)
    test = project.test_of("vips", "unique_vips_user_id")
    project.run_results({test: status})
    assert synced(project).status == outcome


def test_a_plan_tells_what_would_stop_it(project: ProjectFolder) -> None:
    project.audience("vips", people(("u1", 1), ("u1", 1)), META)
    plans: list[Any] = project.open().plan("vips")
    assert [stop.guard for stop in plans[0].stops] == ["keys"]
