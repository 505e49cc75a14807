"""`revetl why`: what a sync makes of a person, from the first run to the last."""

from __future__ import annotations

import json
from typing import Any

import pytest

from revetl.inspect.explain import explain
from revetl.inspect.explain.answer import SyncVerdict
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder

ALL = "select user_id, churn, email from people"


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    project.sql(
        """
        create table people as select * from (values
            ('u1', 'Ann@x.com', 0.9), ('u2', 'bob@x.com', 0.42), ('u4', 'di@y.com', 0.8)
        ) as p (user_id, email, churn)
        """
    )
    return project


def build(project: ProjectFolder, query: str, **sync: Any) -> None:
    """Build the audience `chosen` of a query, with one sync."""
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": {"risk": "churn"}, **sync}]}
    project.audience("chosen", query, meta, compiled_code=query)


def verdict(project: ProjectFolder, person: str, **options: Any) -> SyncVerdict:
    (found,) = explain(project.open().workspace, person, "chosen", **options).delivery
    return found


def test_delivery_from_the_first_run_to_the_last(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL)
    new = verdict(shop, "u1")
    assert (new.verdict, new.next_operation, new.notes) == (
        "would_be_added",
        "add",
        ("this sync has never run.",),
    )
    (run,) = shop.open().sync("chosen")
    done = verdict(shop, "u1")
    assert (done.verdict, done.held_by_run, done.next_operation) == ("delivered", run.run_id, None)
    assert [(each.operation, each.cause, each.outcome) for each in done.history] == [
        ("add", "new", "delivered")
    ]
    shop.sql("update people set churn = 0.5 where user_id = 'u1'")
    build(shop, ALL)
    changed = verdict(shop, "u1")
    assert (changed.verdict, changed.differs) == ("would_be_updated", {"risk": (0.9, 0.5)})
    build(shop, f"{ALL} where churn > 0.6")
    left = verdict(shop, "u1")
    assert (left.verdict, left.next_operation, left.held_by_run) == ("would_be_removed", "remove", run.run_id)
    shop.open().sync("chosen", force=["max_change"])
    gone = verdict(shop, "u1")
    assert gone.verdict == "not_a_member"
    assert [(each.operation, each.cause) for each in gone.history] == [("remove", "left"), ("add", "new")]


def suppress(project: ProjectFolder) -> None:
    project.sql(
        "insert into revetl.revetl.suppressions "
        "values ('email', 'ANN@x.com', 'opt-out', timestamp '2026-01-02')"
    )


@pytest.mark.parametrize(
    ("sync", "person", "word", "said"),
    [
        pytest.param({}, "u1", "suppressed", "suppression list since 2026-01-02", id="suppressed"),
        pytest.param({"exclude": ["vips"]}, "u2", "excluded", "exclude: (vips)", id="excluded"),
        pytest.param({"priority": "mail"}, "u4", "claimed", "priority list (first)", id="claimed"),
        pytest.param({"holdout": 0.9999}, "u2", "held_out", "is in the holdout group", id="held out"),
        pytest.param(
            {"limit": 1, "order_by": "churn desc"}, "u2", "over_limit", "limit: 1", id="over the limit"
        ),
    ],
)
def test_who_is_left_out(
    shop: ProjectFolder, sandbox: SandboxClient, sync: dict[str, Any], person: str, word: str, said: str
) -> None:
    shop.audience("vips", "select 'u2' as user_id", {"key": "user_id"})
    shop.audience("first", "select 'u4' as user_id", {"key": "user_id"})
    document = {
        "destinations": {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}},
        "priorities": {"mail": ["first", "chosen"]},
    }
    (shop.root / "revetl.yml").write_text(json.dumps(document))
    build(shop, ALL)
    shop.open().sync("chosen")
    suppress(shop)
    build(shop, ALL, **sync)
    found = verdict(shop, person)
    assert (found.verdict, found.next_operation) == (word, "remove")
    assert said in found.sentence
    assert found.sentence.endswith("The next run removes them from crm.")


def test_a_rejected_record_waits_with_its_reason(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL)
    sandbox.misbehave({"kind": "reject", "pattern": "u2", "reason": "no such person"})
    shop.open().sync("chosen")
    found = verdict(shop, "u2")
    assert (found.verdict, found.next_operation) == ("rejected", None)
    assert [each.outcome for each in found.history] == ["rejected"]
    shop.sql("update people set churn = 0.77 where user_id = 'u2'")
    build(shop, ALL)
    again = verdict(shop, "u2")
    assert (again.verdict, again.next_operation) == ("would_be_added", "add")
    assert again.notes[0].startswith("crm rejected them before")


def test_an_attempt_without_an_answer_is_said(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL)
    shop.open().sync("chosen")
    shop.sql(
        "update revetl.revetl.sync_state "
        "set row_hash = null, pending_operation = 'update', pending_run_id = 'r9' where key = 'u1'"
    )
    found = verdict(shop, "u1")
    assert (found.verdict, found.next_operation) == ("unanswered", "update")
    assert "run r9 sent the update but never received a response" in found.sentence


def test_no_identifier_is_said(shop: ProjectFolder) -> None:
    build(shop, "select user_id as user_id, churn, null as phone from people", identifiers={"id": "phone"})
    found = verdict(shop, "u1")
    assert found.verdict == "no_identifier"


def test_who_left_stays_where_nobody_is_removed(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL, mode="upsert")
    shop.open().sync("chosen")
    build(shop, f"{ALL} where user_id <> 'u1'", mode="upsert")
    found = verdict(shop, "u1")
    assert (found.verdict, found.next_operation) == ("kept", None)


def test_a_run_that_a_guard_stopped_is_said(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL)
    shop.open().sync("chosen")
    build(shop, f"{ALL} where false")
    shop.open().sync("chosen")
    found = verdict(shop, "u1")
    assert (found.verdict, found.next_operation) == ("would_be_removed", "remove")
    assert "was stopped by guard empty" in found.notes[0]


def test_a_changed_identifier_is_a_remove_and_an_add(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL, identifiers={"id": "email"})
    shop.open().sync("chosen")
    shop.sql("update people set email = 'ann@new.com' where user_id = 'u1'")
    build(shop, ALL, identifiers={"id": "email"})
    found = verdict(shop, "u1")
    assert (found.verdict, found.differs) == ("would_be_rekeyed", {"id": ("Ann@x.com", "ann@new.com")})


def test_whose_identifier_another_member_has_is_kept(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    build(shop, ALL, identifiers={"id": "email"})
    shop.open().sync("chosen")
    shop.sql("update people set user_id = 'u7' where user_id = 'u1'")
    build(shop, ALL, identifiers={"id": "email"})
    assert verdict(shop, "u1").verdict == "kept"


def test_nothing_is_written(shop: ProjectFolder) -> None:
    build(shop, ALL)
    before = shop.database.stat().st_mtime_ns
    verdict(shop, "u1")
    assert shop.database.stat().st_mtime_ns == before


def test_the_command_prints_a_tree_and_json(shop: ProjectFolder, cli: Cli) -> None:
    build(shop, f"{ALL} where churn > 0.7")
    text = cli(shop, "why", "u2", "chosen")
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines()[:2] == [
        "✗ user_id u2 is not in chosen",
        "└── final select: churn > 0.7 is false (churn = 0.42)",
    ]
    document = json.loads(cli(shop, "why", "u2", "chosen", "--to", "crm", "-o", "json").stdout)
    assert document["membership"]["member"] is False
    assert document["delivery"][0]["verdict"] == "not_a_member"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("u1", "choosen"), "Did you mean 'chosen'?"),
        (("nobody", "chosen"), "No person found for 'nobody'"),
        (("u1", "chosen", "--to", "crn"), "Did you mean 'crm'?"),
    ],
)
def test_what_is_not_there_ends_with_2(
    shop: ProjectFolder, cli: Cli, arguments: tuple[str, ...], sentence: str
) -> None:
    build(shop, ALL)
    done = cli(shop, "why", *arguments)
    assert (done.returncode, sentence in done.stderr) == (2, True)
