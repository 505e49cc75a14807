"""What a plan says: why, at what cost, and what a kept plan is good for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.errors import UsageError
from revetl.sync.plan.file import read_plan, write_plan
from revetl.sync.plan.plan import Shaped
from revetl.sync.plan.shaped import _common
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_modes import meta
from tests.sync.test_options import MANY, SUPPRESS
from tests.sync.test_sync import META, people, synced

COLUMNS = "user_id, email, score, name"


def planned(project: ProjectFolder, name: str = "vips", **options: Any) -> Any:
    (plan,) = project.open().plan(name, **options)
    return plan


def test_why_each_is_sent(project: ProjectFolder, sandbox: SandboxClient) -> None:
    rows = [("u1", "a@x", 1, "a"), ("u2", "b@x", 2, "b"), ("u3", "c@x", 3, "c"), ("u4", "d@x", 4, "d")]
    options = {"identifiers": {"id": "email"}, "fields": ["score", "name"]}
    project.audience("staff", people(("u9", 1)), {"key": "user_id"})
    project.audience("vips", people(*rows, columns=COLUMNS), meta(**options, exclude=["staff"]))
    synced(project)
    project.sql(SUPPRESS, "user_id", "u4")
    rows[0] = ("u1", "new@x", 1, "a")
    rows[1] = ("u2", "b@x", 20, "B")
    del rows[2]
    rows += [("u5", "e@x", 5, "e"), ("u9", "f@x", 9, "f")]
    project.audience("vips", people(*rows, columns=COLUMNS))
    plan = planned(project)
    assert plan.counts == {"add": 2, "update": 1, "remove": 3}
    assert plan.causes == {
        "remove": {"left": 1, "suppressed": 1, "rekeyed": 1},
        "update": {"changed": 1},
        "add": {"new": 1, "rekeyed": 1},
    }
    assert plan.left_out == {"excluded": 1, "suppressed": 1}
    assert plan.preview.changed_fields == {"name": 1, "score": 1}
    run = synced(project)
    assert run.delivered == plan.counts
    changes = project.sql(
        "select key, operation, cause, outcome from revetl.revetl.sync_changes where run_id = ? order by all",
        run.run_id,
    )
    assert changes == [
        ("u1", "add", "rekeyed", "delivered"),
        ("u1", "remove", "rekeyed", "delivered"),
        ("u2", "update", "changed", "delivered"),
        ("u3", "remove", "left", "delivered"),
        ("u4", "remove", "suppressed", "delivered"),
        ("u5", "add", "new", "delivered"),
    ]


def test_what_it_costs(project: ProjectFolder, sandbox: SandboxClient) -> None:
    config = {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 10, "requests_per_second": 2}
    project.destinations({"crm": config})
    project.audience("vips", MANY.format(601), META)
    plan = planned(project, sample=0)
    assert (plan.preview.request_count, plan.preview.requests) == (61, ())
    assert plan.preview.minutes == pytest.approx(61 / 2 / 60)


def test_a_limit_of_bytes_counts_in_the_cost(project: ProjectFolder) -> None:
    project.destinations({"crm": {"type": "segment", "write_key": "wk"}})
    query = "select 'u' || i as user_id, repeat('x', 20000) as note from range(100) as numbers (i)"
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm"}]})
    plan = planned(project)
    # About 24 messages of 20 kB are within Segment's 500 kB.
    assert 4 <= plan.preview.request_count <= 6


def test_a_plan_as_text(project: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.audience("vips", people(("u1", 10), ("u3", 3)))
    done = cli(project, "plan", "audience", "vips", "--sample", "1")
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    for line in (
        "vips.crm (mirror): add 1, update 1, remove 1; 2 in the audience, 2 held",
        "remove: 1 left",
        "update: 1 changed (fields: score 1)",
        "add: 1 new",
        "cost: 3 requests",
        "identifiers: 100.0% of the audience can be identified",
        "guards: none would stop it",
    ):
        assert line in lines
    assert sum(line.startswith(("add: POST", "update: POST", "remove: POST")) for line in lines) == 3


def test_a_plan_as_a_comment_shows_counts_and_nobody(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("ada@example.com", 1), ("u2|*", 2)), META)
    done = cli(project, "plan", "--all", "-o", "markdown")
    assert done.returncode == 0
    assert "| vips.crm | mirror | 2 | 0 | 0 | 2 | 0 | 1 | pass |" in done.stdout
    assert "ada@example.com" not in done.stdout


def kept(project: ProjectFolder, path: Path, cli: Cli) -> Path:
    done = cli(project, "plan", "audience", "vips", "--out", str(path), "-q")
    assert done.returncode == 0, done.stderr
    return path


def test_a_kept_plan_is_run_once(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, tmp_path: Path
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    file = kept(project, tmp_path / "plan.json", cli)
    assert "u1" not in file.read_text()
    first = cli(project, "sync", "--plan", str(file))
    assert (first.returncode, set(sandbox.members("crm", "vips"))) == (0, {"u1", "u2"}), first.stderr
    second = cli(project, "sync", "--plan", str(file))
    assert second.returncode == 3
    assert "has delivered since the plan was made, and nothing is left to send" in second.stderr
    ((status, by),) = project.sql(
        "select status, stopped_by from revetl.revetl.sync_runs order by started_at desc limit 1"
    )
    assert (status, by) == ("stopped", "plan")


def test_a_kept_plan_runs_after_a_run_that_delivered_nothing(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, tmp_path: Path
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    file = kept(project, tmp_path / "plan.json", cli)
    sandbox.misbehave({"kind": "status", "status": 401})
    assert cli(project, "sync", "--plan", str(file)).returncode == 4
    sandbox.behave()
    done = cli(project, "sync", "--plan", str(file))
    assert (done.returncode, set(sandbox.members("crm", "vips"))) == (0, {"u1", "u2"}), done.stderr


@pytest.mark.parametrize("what", ["audience", "state", "mapping", "rows of the same number"])
def test_a_kept_plan_is_refused_when_something_moved(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, tmp_path: Path, what: str
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    project.audience("vips", people(("u1", 1), ("u2", 2)))
    file = kept(project, tmp_path / "plan.json", cli)
    match what:
        case "audience":
            project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)))
        case "state":
            project.sql("delete from revetl.revetl.sync_state")
        case "mapping":
            project.audience("vips", people(("u1", 1), ("u2", 2)), meta(fields={"score": "score + 1"}))
        case _:
            project.audience("vips", people(("u1", 1), ("u2", 20)))
    before = len(sandbox.requests("crm"))
    assert cli(project, "sync", "--plan", str(file)).returncode == 3
    assert len(sandbox.requests("crm")) == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not a valid plan file"),
        ("{}", "is missing. Add it."),
        (None, "cannot read the plan file"),
    ],
)
def test_a_file_that_is_no_plan(tmp_path: Path, content: str | None, sentence: str) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError) as raised:
        read_plan(file, target="dev")
    assert sentence in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_plan_of_another_target(project: ProjectFolder, tmp_path: Path) -> None:
    project.audience("vips", people(("u1", 1)), META)
    write_plan(tmp_path / "p", project.open().plan("vips"), target="prod", full_refresh=False)
    with pytest.raises(UsageError, match="made for target 'prod', but the current target is 'dev'"):
        read_plan(tmp_path / "p", target="dev")


def test_a_changed_model_against_what_production_has_delivered(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    profiles = {
        "dev": {"type": "duckdb", "path": "revetl.duckdb"},
        "prod": {"type": "duckdb", "path": "production.duckdb"},
    }
    (project.root / "profiles.yml").write_text(
        yaml.safe_dump({"shop": {"target": "dev", "outputs": profiles}})
    )
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.database.rename(project.root / "production.duckdb")
    project.audience("vips", people(("u2", 20), ("u3", 3)))
    before = (project.root / "production.duckdb").read_bytes()
    (plan,) = project.open().plan("vips", compare_target="prod")
    assert plan.counts == {"add": 1, "update": 1, "remove": 1}
    assert planned(project).counts == {"add": 2, "update": 0, "remove": 0}
    done = cli(project, "plan", "--all", "--compare-target", "prod", "-o", "markdown")
    assert "against what `prod` has delivered" in done.stdout
    assert "| vips.crm | mirror | 1 | 1 | 1 | 2 | 2 | 3 | pass |" in done.stdout
    assert (project.root / "production.duckdb").read_bytes() == before
    wrong = cli(project, "plan", "--all", "--compare-target", "prd")
    assert (wrong.returncode, "Did you mean 'prod'?" in wrong.stderr) == (2, True)


def test_a_plan_as_json_is_what_the_python_gives(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    done = cli(project, "plan", "audience", "vips", "-o", "json")
    (plan,) = json.loads(done.stdout)
    ours = planned(project)
    assert (plan["digest"], plan["add"], plan["causes"]) == (ours.digest, 1, {"add": {"new": 1}})


def test_syncs_at_once(project: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    names = ["one", "two", "three"]
    for name in names:
        project.audience(
            name, people((f"{name}-1", 1), (f"{name}-2", 2)), META | {"sync": list(META["sync"])}
        )
    sandbox.misbehave({"kind": "slow", "seconds": 1.5, "times": 3})
    done = cli(project, "sync", "--all", "--threads", "3", "-o", "json")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert sorted(run["audience"] for run in runs) == sorted(names)
    began, ended = max(run["started_at"] for run in runs), min(run["finished_at"] for run in runs)
    assert began < ended
    for name in names:
        assert set(sandbox.members("crm", name)) == {f"{name}-1", f"{name}-2"}


def shaped_of(project: ProjectFolder) -> Shaped:
    """What the plan of vips says would be rejected."""
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.shaped is not None
    return plan.preview.shaped


def test_a_plan_counts_the_records_that_the_destinations_rules_reject(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    config = {"type": "google_analytics", "measurement_id": "G-AAAAAAAA", "api_secret": "sandbox"}
    project.destinations({"ga": {**config, "base_url": f"{sandbox.url}/google_analytics"}})
    query = """select 'm' || i as message_id, 'c' || i || '.1' as client_id,
        cast(now() as timestamp) - interval (case when i < 7 then 100 + i else 1 end) hour as at
        from range(10) as numbers (i)"""
    sync = {"to": "ga", "mode": "events", "event": "purchase", "timestamp": "at", "fields": {}}
    identifiers = {"client_id": "client_id"}
    project.audience("vips", query, {"key": "message_id", "sync": [{**sync, "identifiers": identifiers}]})
    found = shaped_of(project)
    assert (found.checked, found.of, found.is_sample) == (10, 10, False)
    ((reason, count),) = found.rejected.items()
    assert count == 7
    assert "GA4 only accepts events up to 72 hours old" in reason
    text = cli(project, "plan", "vips").stdout
    assert f"  rejections before sending: 7 of 10\n    7: {reason}\n" in text
    assert sum(synced(project).rejected.values()) == 7


def test_a_function_sees_a_sample_of_a_plan_only(project: ProjectFolder, sandbox: SandboxClient) -> None:
    (project.root / "destination_functions").mkdir()
    (project.root / "destination_functions" / "picky.py").write_text(
        "def on_identify(event):\n    if event['key'].endswith('5'):\n        raise ValueError('no fives')\n"
        "    return event\n"
    )
    many = "select 'u' || i as user_id, i as score from range(400) as numbers (i)"
    project.audience("vips", many, {"key": "user_id", "sync": [{"to": "crm", "function": "picky"}]})
    found = shaped_of(project)
    assert (found.checked, found.of, found.is_sample) == (100, 400, True)
    ((reason, count),) = found.rejected.items()
    assert ("no fives" in reason, 0 < count < 40) == (True, True)
    assert sum(synced(project).rejected.values()) == 40


def test_identifiers_that_fall_away_on_the_way_are_counted(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    config = {"type": "facebook_ads", "access_token": "sandbox", "ad_account_id": "123"}
    project.destinations({"fb": {**config, "base_url": f"{sandbox.url}/facebook_ads"}})
    query = """select 'u' || i as user_id, case when i = 0 then '+442079460000' else '+1' end as phone
        from range(3) as numbers (i)"""
    sync = {"to": "fb", "identifiers": {"PHONE": "phone"}, "fields": {}}
    project.audience("vips", query, {"key": "user_id", "sync": [sync]})
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.shaped is not None
    assert sum(plan.preview.shaped.rejected.values()) == 2
    assert sum(synced(project).rejected.values()) == 2


def test_what_differs_between_reasons_is_left_out() -> None:
    assert _common("field 'a' has 12 letters", "field 'b' has 15 letters") == "field … has … letters"
    assert _common("the same", "the same") == "the same"
