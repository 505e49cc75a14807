"""What stops a run before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.sync.test_sync import META, people, synced

MANY = "select 'u' || i as user_id, i as score from range({}) as numbers (i)"


def test_null_and_repeated_keys_are_shown_and_nothing_is_sent(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u1", 2), ("u2", 3), (None, 4)), META)
    run = synced(project)
    assert (run.status, run.exit_code) == ("stopped", 3)
    assert run.error == (
        "vips.crm: 1 rows have a null user_id (4) and 1 rows have the same user_id as another row "
        "(u1 (2 rows)). "
        "Each key must identify one row: fix the model, and add `unique` and `not_null` tests to the key."
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
    assert f"1 rows have the same user_id as another row ({repeated} (2 rows))" in run.error


def test_too_large_a_change(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", MANY.format(2_000), META)
    synced(project)
    project.audience("vips", MANY.format(1_300))
    stopped = synced(project)
    assert (stopped.status, stopped.exit_code) == ("stopped", 3)
    assert stopped.error is not None
    assert "700 removes) are 35% of the 2,000 members at the destination; max_change is 30%" in stopped.error
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


def test_more_removes_than_are_allowed(project: ProjectFolder, sandbox: SandboxClient) -> None:
    options = {"key": "user_id", "sync": [{"to": "crm", "max_removes": 2}]}
    project.audience("vips", MANY.format(9), options)
    synced(project)
    project.audience("vips", MANY.format(6))
    stopped = synced(project)
    assert (stopped.status, stopped.stopped_by) == ("stopped", "max_removes")
    assert "3 members would be removed; max_removes is 2" in str(stopped.error)
    assert (stopped.planned["remove"], stopped.aborted["remove"]) == (3, 3)
    assert synced(project, force=["max_removes"]).delivered["remove"] == 3


@pytest.mark.parametrize(
    ("shrunk_to", "guard"), [(0, "empty"), (6, "max_removes")], ids=["empty", "too many removes"]
)
def test_suppressed_people_are_removed_although_a_volume_guard_stops_the_rest(
    project: ProjectFolder, sandbox: SandboxClient, shrunk_to: int, guard: str
) -> None:
    options = {"key": "user_id", "sync": [{"to": "crm", "max_removes": 2}]}
    project.audience("vips", MANY.format(10), options)
    synced(project)
    project.sql(
        "insert into revetl.revetl.suppressions values ('user_id', 'u8', 'opt-out', current_timestamp)"
    )
    project.audience("vips", MANY.format(shrunk_to))
    run = synced(project)
    assert (run.status, run.exit_code, run.stopped_by) == ("stopped", 3, guard)
    assert (run.planned["remove"], run.delivered["remove"]) == (10 - shrunk_to, 1)
    assert set(sandbox.members("crm", "vips")) == {f"u{i}" for i in range(10)} - {"u8"}
    forced = synced(project, force=[guard, "max_removes"])
    assert forced.delivered["remove"] == 9 - shrunk_to


def test_a_failed_test_stops_removes_of_suppressed_people_too(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.sql(
        "insert into revetl.revetl.suppressions values ('user_id', 'u2', 'opt-out', current_timestamp)"
    )
    project.run_results({project.test_of("vips", "unique_vips_user_id"): "fail"})
    assert synced(project).delivered["remove"] == 0
    assert len(sandbox.members("crm", "vips")) == 2


@pytest.mark.parametrize(
    ("hours", "status", "outcome"),
    [
        (1, "success", "success"),
        (3, "success", "stopped"),
        (None, "success", "stopped"),
        (1, "error", "stopped"),
    ],
    ids=["fresh", "stale", "never built", "failed"],
)
@pytest.mark.parametrize(
    "options",
    first_fast(
        [
            {"key": "user_id", "sync": [{"to": "crm", "max_age": "2 hours"}]},
            {"key": "user_id", "max_age": "2 hours", "sync": [{"to": "crm"}]},
            {"key": "user_id", "max_age": "1 minute", "sync": [{"to": "crm", "max_age": "2 hours"}]},
        ]
    ),
    ids=["of the sync", "of the audience", "of both"],
)
def test_the_age_of_the_model(
    project: ProjectFolder, hours: int | None, status: str, outcome: str, options: dict[str, Any]
) -> None:
    project.audience("vips", people(("u1", 1)), options)
    project.open().plan("vips")
    synced(project, force=["max_age"])
    project.audience("vips", people(("u1", 2)))
    if hours is not None:
        project.sql(
            "insert into revetl.revetl.model_builds values "
            f"('model.shop.vips', '{status}', (now() at time zone 'utc') - interval {hours} hour, 'inv-7', "
            "null)"
        )
    run = synced(project)
    assert run.status == outcome
    if outcome == "success":
        assert run.dbt_invocation_id == "inv-7"


def test_a_mapped_column_that_the_model_has_lost(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.audience("vips", people(("u1", 1), columns="user_id, points"))
    run = synced(project)
    assert (run.status, run.exit_code, run.stopped_by) == ("stopped", 3, "columns")
    assert "the model has no column 'score'" in str(run.error)
    assert "--force" not in str(run.error)
    assert synced(project, force=["columns"]).status == "stopped"


def test_a_column_that_was_sent_and_is_gone(project: ProjectFolder, sandbox: SandboxClient) -> None:
    columns = "user_id, score, name"
    project.audience(
        "vips", people(("u1", 1, "a"), columns=columns), {"key": "user_id", "sync": [{"to": "crm"}]}
    )
    synced(project)
    project.audience("vips", people(("u1", 1)))
    run = synced(project)
    assert (run.status, run.stopped_by) == ("stopped", "columns")
    assert "no longer has columns that were sent before (name)" in str(run.error)
    assert synced(project, force=["columns"]).status == "success"
    assert synced(project).status == "success"


def test_a_column_that_was_never_there_is_a_mistake(project: ProjectFolder) -> None:
    options = {"key": "user_id", "sync": [{"to": "crm", "fields": {"a": "scor"}}]}
    project.audience("vips", people(("u1", 1)), options)
    with pytest.raises(UsageError, match="Did you mean 'score'"):
        synced(project)


@pytest.mark.parametrize("result", ["fail", "error", "skipped"])
def test_the_models_it_is_made_of(project: ProjectFolder, result: str) -> None:
    project.audience("base", people(("u1", 1)), {"key": "user_id"})
    project.audience("vips", people(("u1", 1)), META)
    project.depends("vips", "base")
    test = project.test_of("base", "not_null_base_user_id")
    project.run_results({test: "fail"} if result == "fail" else {"model.shop.base": result})
    run = synced(project)
    assert (run.status, run.stopped_by) == ("stopped", "tests")


def test_a_failing_test_of_what_was_delivered_does_not_stop_what_would_mend_it(
    project: ProjectFolder,
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    test = project.test_of("vips", "delivered_within_vips", kind="delivered_within")
    project.run_results({test: "fail"})
    assert synced(project).status == "success"


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


def test_another_key_that_replaces_everybody_stops_however_few_they_are(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    query = "select 'u1' as user_id, 'a@b.example' as email, 1 as n union all select 'u2', 'c@d.example', 2"
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm", "fields": ["n"]}]})
    assert cli(project, "sync", "vips").returncode == 0
    project.audience("vips", query, {"key": "email", "sync": [{"to": "crm", "fields": ["n"]}]})
    assert "guard key_changed would stop it" in cli(project, "plan", "vips").stdout
    done = cli(project, "sync", "vips")
    assert done.returncode == 3
    assert "the key was 'user_id' and is 'email' now" in done.stderr
    assert "2 adds and 2 removes, with 2 held" in done.stderr
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    assert cli(project, "sync", "vips", "--force", "key_changed").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"a@b.example", "c@d.example"}
    # The key that was accepted is the one that is compared from now on.
    assert cli(project, "sync", "vips").returncode == 0
    assert "none would stop it" in cli(project, "plan", "vips").stdout


def test_the_same_values_under_another_name_of_the_key_go_on(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience(
        "vips",
        "select 'u1' as user_id, 1 as score",
        {"key": "user_id", "sync": [{"to": "crm", "fields": ["score"]}]},
    )
    assert cli(project, "sync", "vips").returncode == 0
    project.audience(
        "vips",
        "select 'u1' as member_id, 1 as score",
        {"key": "member_id", "sync": [{"to": "crm", "fields": ["score"]}]},
    )
    done = cli(project, "sync", "vips")
    assert (done.returncode, "nothing changed" in done.stdout) == (0, True), done.stderr
