"""What we say to Mailchimp against what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.holding import held
from tests.helpers.ours import synced_by_us
from tests.helpers.project import ProjectFolder

mailchimp_marketing = pytest.importorskip("mailchimp_marketing")

LIST = "9e67587f52"
PEOPLE = """
    select * from (values
        ('u1', 'Ada@example.com', 'Ada "🎯"', 1.5), ('u2', 'marie@example.com', null, 7),
        ('u3', 'no address', 'Nobody', 3)
    ) as t (user_id, email, first_name, score)
"""
MEMBERS: list[dict[str, Any]] = [
    {"email_address": "ada@example.com", "merge_fields": {"FNAME": 'Ada "🎯"', "SCORE": 1.5}},
    {"email_address": "marie@example.com", "merge_fields": {"FNAME": "", "SCORE": 7}},
]


def client(sandbox: SandboxClient, name: str) -> Any:
    """Their client, whose host is the sandbox."""
    made = mailchimp_marketing.Client({"api_key": "KEY-us1", "server": "us1"})
    made.api_client.host = f"{sandbox.url}/{name}/3.0"
    return made.lists


def hashed(address: str) -> str:
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.slow
def test_members_tags_and_events(tmp_path: Path, sandbox: SandboxClient) -> None:
    ours = {
        "type": "mailchimp",
        "api_key": "KEY-us1",
        "list_id": LIST,
        "status_if_new": "subscribed",
        "base_url": f"{sandbox.url}/mailchimp.ours",
    }
    fields = {"FNAME": "first_name", "SCORE": "score"}
    sync = {"identifiers": {"email_address": "email"}, "fields": fields}
    project = synced_by_us(tmp_path / "shop", ours, PEOPLE, sync)

    lists = client(sandbox, "mailchimp.theirs")
    assert "SCORE" in [each["tag"] for each in lists.get_list_merge_fields(LIST)["merge_fields"]]
    segment = str(lists.create_segment(LIST, {"name": "vips", "static_segment": []})["id"])
    told = lists.batch_list_members(LIST, {"members": MEMBERS, "update_existing": True})
    assert told["error_count"] == 2
    for member in MEMBERS:
        whole = {**member, "status_if_new": "subscribed"}
        made = lists.set_list_member(LIST, hashed(member["email_address"]), whole)
        assert made["status"] == "subscribed"
    names = [member["email_address"] for member in MEMBERS]
    assert lists.batch_segment_members({"members_to_add": names}, LIST, segment)["total_added"] == 2
    assert held(sandbox, "mailchimp.ours") == held(sandbox, "mailchimp.theirs")

    # Marie unsubscribes, leaves the audience, and comes back: she stays unsubscribed.
    for name in ("ours", "theirs"):
        away = {"status": "unsubscribed"}
        client(sandbox, f"mailchimp.{name}").update_list_member(LIST, hashed("marie@example.com"), away)
    project.audience("vips", f"select * from ({PEOPLE}) where user_id = 'u1'")
    project.open().sync("vips")
    lists.batch_segment_members({"members_to_remove": ["marie@example.com"]}, LIST, segment)
    assert held(sandbox, "mailchimp.ours") == held(sandbox, "mailchimp.theirs")
    project.audience("vips", PEOPLE)
    project.open().sync("vips")
    statuses = {name: each["status"] for name, each in held(sandbox, "mailchimp.ours")["profiles"].items()}
    assert statuses == {"ada@example.com": "subscribed", "marie@example.com": "unsubscribed"}
    assert held(sandbox, "mailchimp.ours")["members"] == {"vips": names}


@pytest.mark.slow
def test_events_and_erasure(tmp_path: Path, sandbox: SandboxClient) -> None:
    there = {
        name: {
            "type": "mailchimp",
            "api_key": "KEY-us1",
            "list_id": LIST,
            "base_url": f"{sandbox.url}/mailchimp.{name}",
        }
        for name in ("told", "erased")
    }
    names = ("told", "erased", "theirs")
    for name in names:
        new = {"email_address": "ada@example.com", "status_if_new": "subscribed"}
        client(sandbox, f"mailchimp.{name}").set_list_member(LIST, hashed("ada@example.com"), new)
    lists = client(sandbox, "mailchimp.theirs")
    project = ProjectFolder(tmp_path / "shop", there)
    base = {"identifiers": {"email_address": "email"}}
    event = {"to": "told", "mode": "events", "event": "churned", "fields": {"score": "score"}, **base}
    erasing = {"to": "erased", "mode": "delete", "max_change": "200%", "fields": {}, **base}
    query = f"select * from ({PEOPLE}) where user_id = 'u1'"
    project.audience("churned", query, {"key": "user_id", "sync": [event]})
    project.audience("forgotten", query, {"key": "user_id", "sync": [erasing]})
    project.open().sync("churned")
    project.open().sync("forgotten")
    told = {"name": "churned", "properties": {"score": "1.5"}, "occurred_at": "2026-01-02T00:00:00Z"}
    lists.create_list_member_event(LIST, hashed("ada@example.com"), told)
    assert held(sandbox, "mailchimp.told")["events"] == held(sandbox, "mailchimp.theirs")["events"]
    lists.delete_list_member_permanent(LIST, hashed("ada@example.com"))
    assert (
        held(sandbox, "mailchimp.erased")["profiles"] == held(sandbox, "mailchimp.theirs")["profiles"] == {}
    )
