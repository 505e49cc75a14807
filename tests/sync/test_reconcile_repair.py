"""What a repair makes of what has drifted apart."""

from __future__ import annotations

import json

import httpx
import pytest

from revetl.errors import GuardStopped
from tests.conftest import Cli, SandboxClient
from tests.helpers.drift import by_hand, drift_in, readable, readable_shop, reconciled, sent, state
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import EMAIL, META, people, synced

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project whose three members are at the destination, which can be read back."""
    return readable_shop(project, sandbox)


def test_a_repair_mends_all_but_whom_others_put_there(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    drift_in(sandbox)
    shop.audience("vips", people(("u1", 1), ("u2", 2), ("u4", 4)))
    since = len(sandbox.requests("crm"))
    done = cli(shop, "reconcile", "vips.crm", "--repair")
    assert (done.returncode, done.stderr) == (1, "")
    assert sandbox.members("crm", "vips") == {
        "u1": {"score": 1},
        "u2": {"score": 2, "note": "by hand"},
        "u4": {"score": 4},
        "x9": {"score": 9},
    }
    assert sent(sandbox, since) == [("remove", ["u3"]), ("update", ["u2"]), ("add", ["u1", "u4"])]
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("  vips.crm: success: 2 added, 1 updated, 1 removed (")
    assert lines[-1] == "  left: 1 extra, whom --remove-extra removes"
    assert state(shop) == [("u1", 1, None), ("u2", 2, None), ("u4", 4, None)]
    recorded = shop.sql(
        "select key, operation, cause, outcome from revetl.revetl.sync_changes "
        "where cause in ('missing', 'different', 'extra') order by key"
    )
    assert recorded == [("u1", "add", "missing", "unknown"), ("u2", "update", "different", "unknown")]
    assert shop.sql("select count(*) from revetl.revetl.sync_locks") == [(0,)]
    again = reconciled(shop)
    assert again.there is not None
    assert (again.plan.changes, again.there.missing, again.there.different, again.there.extra) == (0, 0, 0, 1)


def test_extra_people_are_removed_on_request(shop: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    drift_in(sandbox)
    since = len(sandbox.requests("crm"))
    done = cli(shop, "reconcile", "vips.crm", "--repair", "--remove-extra", "-o", "json")
    assert done.returncode == 0, done.stderr
    repair = json.loads(done.stdout)["repair"]
    assert (repair["marked"], repair["left"]) == (
        {"missing": 1, "different": 1, "extra": 1},
        {"different": 0, "extra": 0},
    )
    assert sent(sandbox, since) == [("remove", ["x9"]), ("update", ["u2"]), ("add", ["u1"])]
    assert state(shop) == [("u1", 1, None), ("u2", 2, None), ("u3", 3, None)]
    history = shop.sql(
        "select operation, cause, outcome from revetl.revetl.sync_changes where key = 'x9' "
        "order by changed_at"
    )
    assert history == [("remove", "extra", "unknown"), ("remove", "left", "delivered")]
    assert not reconciled(shop).drifted


def test_whom_the_audience_has_is_no_extra(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    by_hand(sandbox, "add", u7={"score": 7})
    shop.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3), ("u7", 7)))
    found = reconciled(shop, repair=True, remove_extra=True)
    assert found.there is not None
    assert (found.there.extra, found.plan.add, found.exit_code) == (0, 1, 0)
    assert "u7" in sandbox.members("crm", "vips")


def test_people_known_by_another_identifier_than_the_key(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    columns = "person, email, score"
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", people(("p1", "a@x", 1), ("p2", "b@x", 2), columns=columns), EMAIL.copy())
    synced(project)
    by_hand(sandbox, "remove", **{"a@x": {}})
    by_hand(sandbox, "add", **{"c@x": {"score": 3}, "b@x": {"score": 20}})
    found = reconciled(project)
    assert found.there is not None
    assert {kind: [example.key for example in some] for kind, some in found.there.examples.items()} == {
        "missing": ["p1"],
        "different": ["p2"],
        "extra": ['{"id":"c@x"}'],
    }
    assert reconciled(project, repair=True, remove_extra=True).exit_code == 0
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 1}, "b@x": {"score": 2}}
    assert not reconciled(project).drifted


def test_who_is_different_and_refused_stays_as_the_state_has_them(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "u2", "reason": "no such score"})
    shop.audience("vips", people(("u1", 1), ("u2", 20), ("u3", 3)))
    assert synced(shop).status == "rejected"
    sandbox.behave()
    by_hand(sandbox, "update", u2={"score": 99})
    found = reconciled(shop, repair=True)
    assert found.repair is not None
    assert (found.repair.marked["different"], found.repair.left["different"], found.exit_code) == (0, 1, 1)
    assert ("u2", 2, None) in state(shop)


def test_a_destination_that_cannot_be_read_back(project: ProjectFolder, cli: Cli) -> None:
    project.audience("vips", people(("u1", 1)), META.copy())
    found = cli(project, "reconcile", "vips.crm")
    note = (
        "  Only the audience and the state were compared: "
        "crm (webhook) does not support reading an audience back."
    )
    assert (found.returncode, note in found.stdout.splitlines()) == (1, True)
    repaired = cli(project, "reconcile", "vips.crm", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert [key for key, *_ in state(project)] == ["u1"]
    assert "nothing has drifted" in cli(project, "reconcile", "vips.crm").stdout
    refused = cli(project, "reconcile", "vips.crm", "--repair", "--remove-extra")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "the members at the destination are not known" in refused.stderr


def test_a_destination_that_holds_nobody_has_to_be_forced(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    httpx.post(f"{sandbox.url}/_/reset")
    stopped = cli(shop, "reconcile", "vips.crm", "--repair")
    assert (stopped.returncode, stopped.stdout) == (3, "")
    assert "crm returned no members, but acknowledged 3" in stopped.stderr
    assert "--force empty" in stopped.stderr
    assert len(state(shop)) == 3
    assert cli(shop, "reconcile", "vips.crm", "--repair", "--force", "empty").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2", "u3"}


MANY = "select 'u' || i as user_id, i % 7 as score from range(2500) as numbers (i)"


def test_many_pages_and_the_guard_on_what_is_missing(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", MANY, META.copy())
    synced(project)
    since = len(sandbox.requests("crm"))
    found = reconciled(project)
    assert found.there is not None
    assert (found.there.read, found.drifted, len(sandbox.requests("crm")) - since) == (2500, False, 3)
    by_hand(sandbox, "remove", **{f"u{i}": {} for i in range(1000)})
    with pytest.raises(GuardStopped, match=r"1,000 of 2,500 acknowledged members \(40%\) are missing"):
        reconciled(project, repair=True)
    assert len(state(project)) == 2500
    found = reconciled(project, repair=True, force=("max_change",), examples=0)
    assert (found.exit_code, len(sandbox.members("crm", "vips"))) == (0, 2500)


def test_extra_people_whom_a_guard_kept_are_not_removed_later(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": readable(sandbox)})
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": {"score": "score"}, "max_removes": 1}]}
    project.audience("vips", people(("u1", 1)), meta)
    synced(project)
    by_hand(sandbox, "add", x1={"score": 1}, x2={"score": 2})
    found = reconciled(project, repair=True, remove_extra=True)
    assert found.repair is not None
    assert (found.repair.run.stopped_by, found.repair.left["extra"], found.exit_code) == ("max_removes", 2, 3)
    assert synced(project).status == "success"
    assert set(sandbox.members("crm", "vips")) == {"u1", "x1", "x2"}


def test_a_repair_waits_for_no_run_and_a_report_says_that_there_is_one(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    shop.sql(
        "insert into revetl.revetl.sync_locks values "
        "('vips.crm', 'r7', 'elsewhere', '1/1', now()::timestamp, now()::timestamp + interval 1 day)"
    )
    by_hand(sandbox, "remove", u1={})
    locked = cli(shop, "reconcile", "vips.crm", "--repair")
    assert (locked.returncode, locked.stdout) == (6, "")
    assert "run r7 on elsewhere" in locked.stderr
    assert [key for key, *_ in state(shop)] == ["u1", "u2", "u3"]
    report = cli(shop, "reconcile", "vips.crm")
    assert report.returncode == 1
    note = "  Run r7 was in progress during the comparison: what it sent may show as drift."
    assert note in report.stdout.splitlines()


def test_a_sync_that_never_ran_is_all_to_be_added(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", people(("u1", 1)), META.copy())
    by_hand(sandbox, "add", x9={})
    found = reconciled(project)
    assert found.there is not None
    assert (found.plan.add, found.there.missing, found.there.extra) == (1, 0, 1)
    found = reconciled(project, repair=True)
    assert (found.exit_code, set(sandbox.members("crm", "vips"))) == (1, {"u1", "x9"})
