"""Runs of requests: people are erased at destinations and in the warehouse, everybody else is untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from revetl.privacy.run import PrivacyRun, run_requests
from revetl.privacy.store import list_requests, show_request
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.privacy.support import identity, rows_of

PEOPLE = [(f"user-{n}", f"mail{n}@x.co", f"visitor-{n}") for n in range(6)]
STATE = ("sync_state", "sync_changes", "sync_rejections", "sync_intents", "sync_trials")


def fill(shop: ProjectFolder, mode: str = "mirror") -> None:
    """Six people with two messages each, in an audience that is delivered."""
    identity(shop, [[("user_id", u), ("email", e), ("anonymous_id", a)] for u, e, a in PEOPLE])
    lines: list[dict[str, Any]] = []
    for user, email, anonymous in PEOPLE:
        about = {"anonymousId": anonymous, "timestamp": "2026-01-01T00:00:00Z"}
        lines += [
            {
                "type": "identify",
                "messageId": f"i-{user}",
                "userId": user,
                "traits": {"email": email},
                **about,
            },
            {"type": "track", "messageId": f"t-{user}", "event": "Seen", **about},
        ]
    land(shop, *lines)
    query = rows_of("user_id, email", [(user, email) for user, email, _ in PEOPLE])
    shop.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm", "mode": mode}]})


def land(shop: ProjectFolder, *messages: dict[str, Any]) -> None:
    file = shop.root / "messages.ndjson"
    file.write_text("".join(json.dumps(each) + "\n" for each in messages))
    shop.open().load([file])
    file.unlink()


def request(shop: ProjectFolder, cli: Cli, *arguments: str) -> list[str]:
    done = cli(shop, "privacy", "request", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr + done.stdout
    return [each["request_id"] for each in json.loads(done.stdout)["requests"]]


def run(shop: ProjectFolder) -> PrivacyRun:
    return run_requests(shop.open().workspace, build=False)


def statuses(shop: ProjectFolder, request_id: str) -> dict[str, str]:
    return {each.place: each.status for each in show_request(shop.open().workspace, request_id).places}


def raw(shop: ProjectFolder) -> set[str]:
    tables = ("identifies", "tracks")
    return {str(name) for each in tables for (name,) in shop.sql(f"select id from {shop.raw_schema}.{each}")}


def everything(shop: ProjectFolder) -> str:
    """Every value that the state and the raw tables have."""
    tables = [
        f"{shop.raw_schema}.{each}" for each in ("identifies", "tracks", "aliases", "rejected_messages")
    ]
    tables += [f"revetl.revetl.{each}" for each in (*STATE, "suppressions", "audience_changes")]
    tables += [
        f"revetl.revetl.privacy_{each}"
        for each in ("requests", "identifiers", "places", "tombstones", "receipts")
    ]
    return "\n".join(str(row) for each in tables for row in shop.sql(f"select * from {each}"))


def rebuild(shop: ProjectFolder, gone: set[str]) -> None:
    """What a build makes of the raw tables: nobody who is gone."""
    left = [each for each in PEOPLE if each[0] not in gone]
    identity(shop, [[("user_id", u), ("email", e), ("anonymous_id", a)] for u, e, a in left])
    query = rows_of("user_id, email", [(user, email) for user, email, _ in left])
    shop.sql(f"create or replace table vips as {query}")


def test_a_person_is_erased_everywhere_and_everybody_else_is_untouched(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    fill(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    others = shop.sql("select * from revetl.revetl.sync_state where key <> 'user-1' order by key")
    (ada,) = request(shop, cli, "--delete", "mail1@x.co")
    first = run(shop)
    assert first.errors == {}
    assert (first.finished, first.open) == (0, 1)
    assert set(sandbox.members("crm", "vips")) == {"user-0", "user-2", "user-3", "user-4", "user-5"}
    assert raw(shop) == {f"{kind}-{user}" for kind in "it" for user, *_ in PEOPLE if user != "user-1"}
    expected = dict.fromkeys(("destination:crm", "local", "raw", "snapshots", "state"), "finished")
    assert statuses(shop, ada) == {**expected, "models": "running"}
    rebuild(shop, {"user-1"})
    second = run(shop)
    assert (second.finished, second.open, second.errors) == (1, 0, {})
    assert list_requests(shop.open().workspace)[0].status == "finished"
    after = shop.sql("select * from revetl.revetl.sync_state where key <> 'user-1' order by key")
    assert after == others
    found = everything(shop)
    for value in ("user-1", "mail1@x.co", "visitor-1"):
        assert value not in found
    # Nothing of the deletion is left to be delivered.
    assert cli(shop, "sync", "--all").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"user-0", "user-2", "user-3", "user-4", "user-5"}


def test_whose_data_was_deleted_may_come_back(shop: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    fill(shop)
    request(shop, cli, "--delete", "user-1")
    run(shop)
    rebuild(shop, {"user-1"})
    run(shop)
    again = {"type": "identify", "messageId": "again", "userId": "user-1", "traits": {"email": "mail1@x.co"}}
    land(shop, again)
    assert run(shop).late_messages == 0
    rebuild(shop, set())
    assert cli(shop, "sync", "--all").returncode == 0
    assert "user-1" in sandbox.members("crm", "vips")


def test_who_is_suppressed_stays_out_whatever_arrives_later(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    fill(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    request(shop, cli, "--suppress-with-delete", "user-1")
    run(shop)
    rebuild(shop, {"user-1"})
    assert run(shop).finished == 1
    # By a known identifier with a new one, and then by the new one alone.
    land(
        shop,
        {
            "type": "identify",
            "messageId": "l1",
            "anonymousId": "visitor-1",
            "traits": {"email": "Later@x.co"},
        },
    )
    assert run(shop).late_messages == 1
    land(
        shop,
        {"type": "identify", "messageId": "l2", "anonymousId": "new", "traits": {"email": "later@x.co"}},
        {
            "type": "identify",
            "messageId": "l3",
            "anonymousId": "visitor-9",
            "traits": {"email": "mail2@x.co"},
        },
    )
    assert run(shop).late_messages == 1
    assert "l3" in raw(shop)
    assert not {"l1", "l2"} & raw(shop)
    # A model that has the person all the same sends nothing.
    query = rows_of("user_id, email", [("user-1", None), ("user-0", "mail0@x.co"), ("user-8", " LATER@x.co")])
    shop.sql(f"create or replace table vips as {query}")
    assert cli(shop, "sync", "--all", "--force", "max_change").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"user-0"}
    found = everything(shop)
    for value in ("user-1", "mail1@x.co", "later@x.co"):
        assert value not in found.lower()
    request(shop, cli, "--unsuppress", "user-1")
    assert cli(shop, "sync", "--all", "--force", "max_change").returncode == 0
    assert {"user-0", "user-1", "user-8"} == set(sandbox.members("crm", "vips"))


def test_a_suppression_takes_people_out_and_keeps_their_rows(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    fill(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    (one,) = request(shop, cli, "--suppress", "user-1")
    done = run(shop)
    assert (done.finished, done.open) == (1, 0)
    assert statuses(shop, one) == {"destination:crm": "finished"}
    assert "user-1" not in sandbox.members("crm", "vips")
    assert {"i-user-1", "t-user-1"} <= raw(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    assert "user-1" not in sandbox.members("crm", "vips")


def test_a_destination_that_cannot_be_reached_keeps_its_requests_open(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    fill(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    other = {"type": "webhook", "url": f"{sandbox.url}/other"}
    down = {"type": "webhook", "url": "http://127.0.0.1:9/crm", "retries": 0}
    shop.destinations({"crm": down, "other": other})
    (one,) = request(shop, cli, "--delete", "user-1")
    done = run(shop)
    assert set(done.errors) == {"destination:crm"}
    found = statuses(shop, one)
    assert found["destination:crm"] == "failed"
    assert (found["destination:other"], found["raw"]) == ("finished", "finished")
    # What is needed to erase the person there is kept until it is done.
    assert found["state"] == "initialized"
    assert shop.sql("select count(*) from revetl.revetl.sync_state where key = 'user-1'") == [(1,)]
    assert "user-1" not in str(done.errors)
    shop.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}, "other": other})
    rebuild(shop, {"user-1"})
    assert run(shop).finished == 1
    assert "user-1" not in sandbox.members("crm", "vips")


@pytest.mark.parametrize("request_type", ["--delete-internal", "--suppress-with-delete-internal"])
def test_an_internal_request_reaches_no_destination(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli, request_type: str
) -> None:
    fill(shop)
    assert cli(shop, "sync", "--all").returncode == 0
    before = len(sandbox.deliveries("crm"))
    (one,) = request(shop, cli, request_type, "user-1")
    run(shop)
    assert len(sandbox.deliveries("crm")) == before
    assert "destination:crm" not in statuses(shop, one)
    assert "i-user-1" not in raw(shop)


def test_lines_that_were_not_loaded_are_erased(shop: ProjectFolder, cli: Cli) -> None:
    fill(shop)
    land(
        shop,
        {"type": "identify", "messageId": "b1", "userId": "user-1", "timestamp": "never", "traits": []},
        {"type": "identify", "messageId": "b2", "userId": "user-2", "timestamp": "never", "traits": []},
    )
    before = [text for (text,) in shop.sql(f"select text from {shop.raw_schema}.rejected_messages")]
    assert len(before) == 2
    request(shop, cli, "--delete", "user-1")
    run(shop)
    left = [text for (text,) in shop.sql(f"select text from {shop.raw_schema}.rejected_messages")]
    assert left == [text for text in before if "user-2" in text]
