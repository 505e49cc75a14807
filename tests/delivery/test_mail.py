"""Emails: one per event whatever fails, never a second one by itself, within the day's limit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.scenarios.test_lost import lose_all
from tests.sync.test_sync import people

ORDER = ("e1", "u1", "ada@example.com", "Order Completed", '{"order_id": "o1", "total": 12.5}')
SIGNED = ("e2", "u2", "marie@example.com", "Signed Up", '{"plan": "pro"}')
THIRD = ("e3", "u3", "emmy@example.com", "Signed Up", '{"plan": "free"}')
COLUMNS = "message_id, user_id, email, event, properties"


def mailing(
    project: ProjectFolder, sandbox: SandboxClient, *rows: tuple[str, ...], **mail: Any
) -> ProjectFolder:
    """A project whose events `orders` are mailed."""
    events = {"Order Completed": {"template_id": "d-order", "categories": ["orders"]}}
    own = {"from": "shop@example.com", "template_id": "d-all", "events": events, **mail}
    config = {
        "type": "sendgrid",
        "api_key": "SG.KEY",
        "base_url": f"{sandbox.url}/sendgrid.mail",
        "mail": own,
    }
    project.destinations({"mail": {**config, "retries": 3, "max_in_flight": 1}})
    sync = {
        "to": "mail",
        "mode": "events",
        "event_column": "event",
        "identifiers": {"email": "email"},
        "standard_events": False,
    }
    project.audience("orders", people(*rows, columns=COLUMNS), {"key": "message_id", "sync": [sync]})
    return project


def mailed(sandbox: SandboxClient) -> list[tuple[str, str]]:
    """Recipient and template of every email, each time that it was sent."""
    events = httpx.get(f"{sandbox.url}/_/members/sendgrid.mail").json()["events"]
    return sorted((each["person"], each["event"]) for each in events)


def test_an_event_is_mailed_once_by_the_template_of_its_name(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, SIGNED)
    (run,) = project.open().sync("orders")
    assert (run.status, run.delivered["add"]) == ("success", 2)
    events = httpx.get(f"{sandbox.url}/_/members/sendgrid.mail").json()["events"]
    ordered = next(each for each in events if each["event"] == "d-order")
    assert ordered["properties"]["data"] == {"order_id": "o1", "total": 12.5}
    assert ordered["properties"]["categories"] == ["orders"]
    # Neither another build, nor changed properties, nor a full refresh mails anybody again.
    changed = (*ORDER[:4], '{"order_id": "o1", "total": 13}')
    project.audience("orders", people(changed, SIGNED, columns=COLUMNS))
    for refresh, retry in ((False, False), (True, False), (False, True)):
        (again,) = project.open().sync("orders", full_refresh=refresh, retry=retry)
        assert (again.status, sum(again.planned.values())) == ("success", 0)
    assert mailed(sandbox) == [("ada@example.com", "d-order"), ("marie@example.com", "d-all")]


@pytest.mark.parametrize(
    ("rule", "is_mailed"),
    [
        ({"kind": "drop", "when": "after", "times": 1}, True),
        ({"kind": "drop", "when": "before", "times": 1}, False),
        ({"kind": "status", "status": 503, "times": 1}, False),
        pytest.param({"kind": "status", "status": 500, "times": 1}, False, marks=pytest.mark.long),
        pytest.param({"kind": "page", "times": 1}, False, marks=pytest.mark.long),
    ],
)
def test_an_email_of_unknown_outcome_is_sent_again_only_when_it_is_asked_for(
    rule: dict[str, Any], is_mailed: bool, project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    mailing(project, sandbox, ORDER, SIGNED)
    sandbox.misbehave(rule)
    (run,) = project.open().sync("orders")
    assert (run.status, run.delivered["add"], run.unsent) == ("refused", 1, 1)
    assert "not sent again automatically" in str(run.error) or rule["kind"] == "page"
    assert any("1 records have an unknown outcome" in note for note in run.notes)
    first = mailed(sandbox)
    assert len(first) == 1 + is_mailed
    for refresh in (False, True):
        (again,) = project.open().sync("orders", full_refresh=refresh)
        assert (again.status, sum(again.planned.values())) == ("success", 0)
        assert any("revetl retry audience orders --to mail" in note for note in again.notes)
    (plan,) = project.open().plan("orders")
    assert any("1 records have an unknown outcome" in note for note in plan.notes)
    assert mailed(sandbox) == first
    done = cli(project, "retry", "audience", "orders")
    assert (done.returncode, len(mailed(sandbox))) == (0, 2 + is_mailed)
    assert "unknown outcome" not in done.stderr


def test_a_refused_email_and_one_that_was_limited_are_told_from_an_unknown_outcome(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, SIGNED, THIRD)
    sandbox.misbehave(
        {"kind": "status", "status": 429, "retry_after": 0.05, "times": 2},
        {"kind": "reject", "pattern": "^marie"},
    )
    (run,) = project.open().sync("orders")
    assert (run.status, run.delivered["add"], run.rejected["add"], run.unsent) == ("rejected", 2, 1, 0)
    (again,) = project.open().sync("orders")
    assert sum(again.planned.values()) == 0
    assert not any("unknown" in note for note in again.notes)
    sandbox.behave()
    (retried,) = project.open().sync("orders", retry=True)
    assert retried.delivered["add"] == 1
    assert len(mailed(sandbox)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_a_killed_run_mails_nobody_twice(
    disk: str, project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    many = [(f"e{i}", f"u{i}", f"u{i}@example.com", "Signed Up", "{}") for i in range(30)]
    mailing(project, sandbox, *many)
    sandbox.misbehave({"kind": "slow", "seconds": 0.05})
    command = [sys.executable, "-m", "revetl", "sync", "audience", "orders"]
    process = subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(mailed(sandbox)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    # The next email is in flight once the rule is used up.
    sandbox.misbehave({"kind": "slow", "seconds": 30, "times": 1})
    while any(rule["seconds"] == 30 for rule in sandbox.rules()) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sandbox.behave()
    if disk == "lost":
        lose_all(project.root / ".revetl" / "runs")
    done = cli(project, "sync", "audience", "orders")
    assert done.returncode == 0, done.stderr
    assert "unknown outcome" in done.stderr
    assert "planned again" not in done.stderr
    found = mailed(sandbox)
    assert len(found) == len(set(found))
    # With its journal, only the one email that was in flight is in doubt.
    ((unknown,),) = project.sql("select count(*) from revetl.revetl.sync_state where row_hash is null")
    assert unknown == (1 if disk == "kept" else 30)
    assert len(found) >= (29 if disk == "kept" else 3)


def test_a_daily_limit_sends_the_oldest_events_and_leaves_the_others_to_a_later_day(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, SIGNED, THIRD, daily_limit=2)
    (plan,) = project.open().plan("orders")
    assert (plan.add, [note for note in plan.notes if "daily_limit" in note]) == (
        2,
        ["1 records wait for a later run: daily_limit is 2, and 0 were sent in the last 24 hours"],
    )
    (run,) = project.open().sync("orders")
    assert (run.status, run.delivered["add"]) == ("success", 2)
    (full,) = project.open().sync("orders")
    assert (full.status, sum(full.planned.values())) == ("success", 0)
    assert any("and 2 were sent in the last 24 hours" in note for note in full.notes)
    project.sql("update revetl.revetl.sync_changes set changed_at = changed_at - interval 25 hour")
    (later,) = project.open().sync("orders")
    assert later.delivered["add"] == 1
    assert len(mailed(sandbox)) == 3


@pytest.mark.long
def test_syncs_that_are_planned_at_once_share_the_daily_limit(tmp_path: Path, sandbox: SandboxClient) -> None:
    # A DuckDB file has one writer, so that only a server plans two syncs at once.
    project = ProjectFolder(tmp_path / "shop", {}, "postgres")
    mailing(project, sandbox, ORDER, daily_limit=2)
    sync = {"to": "mail", "mode": "events", "event_column": "event", "identifiers": {"email": "email"}}
    for name in ("more", "others", "rest"):
        rows = [(f"{name}{i}", name, f"{name}{i}@example.com", "Signed Up", "{}") for i in range(2)]
        project.audience(
            name,
            people(*rows, columns=COLUMNS),
            {"key": "message_id", "sync": [{**sync, "standard_events": False}]},
        )
    runs = project.open().sync(threads=4)
    assert {run.status for run in runs} == {"success"}
    assert (sum(run.delivered["add"] for run in runs), len(mailed(sandbox))) == (2, 2)


def test_an_event_that_is_named_comes_first_within_the_daily_limit(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    mailing(project, sandbox, ORDER, SIGNED, THIRD, daily_limit=1)
    (plan,) = project.open().plan("orders", only="e3")
    assert (plan.add, plan.notes) == (1, ())
    (run,) = project.open().sync("orders", only="e3")
    assert (run.status, run.delivered["add"], mailed(sandbox)) == (
        "success",
        1,
        [("emmy@example.com", "d-all")],
    )
    for asked, waits in (("e2", True), ("e3", False)):
        done = cli(project, "sync", "orders", "--only", asked)
        assert (done.returncode, "1 records wait for a later run" in done.stderr) == (0, waits), done.stderr
        # It would not be.
        assert "--full-refresh sends it again" not in done.stderr
    assert len(mailed(sandbox)) == 1


def test_suppressed_people_are_never_mailed(project: ProjectFolder, sandbox: SandboxClient) -> None:
    mailing(project, sandbox, ORDER)
    project.open().sync("orders")
    project.audience("orders", people(ORDER, SIGNED, THIRD, columns=COLUMNS))
    suppress = "insert into revetl.revetl.suppressions values (?, ?, 'opt-out', timestamp '2026-01-01')"
    project.sql(suppress, "email", " Marie@Example.com")
    project.sql(suppress, "user_id", "u3")
    (run,) = project.open().sync("orders")
    assert (run.status, run.left_out_rows, sum(run.planned.values())) == ("success", 2, 0)
    assert mailed(sandbox) == [("ada@example.com", "d-order")]


def test_sandbox_mode_sends_nothing_and_is_another_place_than_the_real_one(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, sandbox_mode=True)
    (tried,) = project.open().sync("orders")
    assert (tried.status, tried.delivered["add"], mailed(sandbox)) == ("success", 1, [])
    mailing(project, sandbox, ORDER)
    (stopped,) = project.open().sync("orders")
    assert (stopped.status, stopped.stopped_by, mailed(sandbox)) == ("stopped", "identity", [])
    (run,) = project.open().sync("orders", full_refresh=True)
    assert (run.status, mailed(sandbox)) == ("success", [("ada@example.com", "d-order")])


def test_an_audience_by_another_key_mails_nobody_a_second_time(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, SIGNED)
    project.open().sync("orders")
    sync = {"to": "mail", "mode": "events", "event_column": "event", "identifiers": {"email": "email"}}
    project.declare("orders", {"key": "user_id", "sync": [{**sync, "standard_events": False}]})
    (stopped,) = project.open().sync("orders")
    assert (stopped.status, stopped.stopped_by) == ("stopped", "identity")
    assert "the key of the audience was 'message_id' and is now 'user_id'" in str(stopped.error)
    assert len(mailed(sandbox)) == 2


@pytest.mark.parametrize(
    ("mail", "message"),
    [
        ({"from": None}, "from is missing"),
        ({"template_id": "13b8f94f"}, "template_id"),
        ({"asm": {"groups_to_display": [1]}}, "group_id"),
        ({"daily_limit": 0}, "daily_limit"),
    ],
)
def test_wrong_settings_of_emails_are_named(
    mail: dict[str, Any], message: str, project: ProjectFolder, sandbox: SandboxClient
) -> None:
    mailing(project, sandbox, ORDER, **mail)
    with pytest.raises(UsageError, match=message):
        project.open().plan("orders")
