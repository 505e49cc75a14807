"""What we say to HubSpot against what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from hubspot import HubSpot

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

PEOPLE = """
    select * from (values
        ('u1', 'ada@example.com', 'Ada "🎯"', 1.5), ('u2', 'marie@example.com', null, null),
        ('u3', 'no address', 'Nobody', 3)
    ) as t (user_id, email, first_name, score)
"""
PROPERTIES: dict[str, dict[str, Any]] = {
    "ada@example.com": {"firstname": 'Ada "🎯"', "score": 1.5},
    "marie@example.com": {"firstname": "", "score": ""},
}
SYNC: dict[str, Any] = {
    "identifiers": {"email": "email"},
    "fields": {"firstname": "first_name", "score": "score"},
}


def client(sandbox: SandboxClient, name: str) -> Any:
    """HubSpot's client, whose host is the sandbox. It checks the form of what it is answered."""
    return HubSpot(access_token="TOKEN", host=f"{sandbox.url}/{name}")


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/{name}").json()
    members = {audience: sorted(each["members"]) for audience, each in found["audiences"].items()}
    return {"profiles": found["profiles"], "members": members, "events": found["events"]}


@pytest.fixture
def project(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    own = {"type": "hubspot", "access_token": "TOKEN"}
    there = {name: {**own, "base_url": f"{sandbox.url}/hubspot.{name}"} for name in ("ours", "tracked")}
    return ProjectFolder(tmp_path / "shop", there)


@pytest.mark.slow
def test_records_and_lists(project: ProjectFolder, sandbox: SandboxClient) -> None:
    meta = {"key": "user_id", "sync": [{"to": "ours", "max_change": "200%", **SYNC}]}
    project.audience("vips", PEOPLE, meta)
    (run,) = project.open().sync("vips")
    assert run.rejected["add"] == 1
    theirs = client(sandbox, "hubspot.theirs")
    listed = theirs.crm.lists.lists_api.create(
        {"name": "vips", "objectTypeId": "0-1", "processingType": "MANUAL"}
    ).list
    inputs = [
        {"objectWriteTraceId": str(place), "idProperty": "email", "id": name, "properties": properties}
        for place, (name, properties) in enumerate(PROPERTIES.items())
    ]
    made = theirs.crm.contacts.batch_api.upsert({"inputs": inputs})
    assert [each.new for each in made.results] == [True, True]
    added = theirs.crm.lists.memberships_api.add(listed.list_id, [each.id for each in made.results])
    assert added.records_ids_added == [each.id for each in made.results]
    assert held(sandbox, "hubspot.ours") == held(sandbox, "hubspot.theirs")
    assert held(sandbox, "hubspot.ours")["members"] == {"vips": ["ada@example.com", "marie@example.com"]}

    project.audience("vips", f"select * from ({PEOPLE}) where user_id = 'u1'")
    project.open().sync("vips")
    asked = {"idProperty": "email", "properties": ["email"], "inputs": [{"id": "Marie@example.com"}]}
    found = theirs.crm.contacts.batch_api.read(asked)
    theirs.crm.lists.memberships_api.remove(listed.list_id, [each.id for each in found.results])
    assert held(sandbox, "hubspot.ours") == held(sandbox, "hubspot.theirs")
    assert held(sandbox, "hubspot.ours")["members"] == {"vips": ["ada@example.com"]}
    by_name = theirs.crm.lists.lists_api.get_by_name("vips", "0-1")
    searched = theirs.crm.lists.lists_api.do_search({"query": "vip"})
    assert by_name.list.list_id == searched.lists[0].list_id == listed.list_id


@pytest.mark.slow
def test_events(project: ProjectFolder, sandbox: SandboxClient) -> None:
    events = (
        "select 'u1' as user_id, 'ada@example.com' as email, 7 as score, timestamp '2026-01-02' as seen_at"
    )
    sync = {
        "to": "tracked",
        "mode": "events",
        "event": "pe77_churned",
        "timestamp": "seen_at",
        "identifiers": {"email": "email"},
        "fields": {"score": "score"},
    }
    project.audience("churned", events, {"key": "user_id", "sync": [sync]})
    project.open().sync("churned")
    (ours,) = held(sandbox, "hubspot.tracked")["events"]
    occurrence = {
        "eventName": "pe77_churned",
        "email": "ada@example.com",
        "occurredAt": "2026-01-02T00:00:00.000Z",
        "uuid": ours["message_id"],
        "properties": {"score": 7},
    }
    client(sandbox, "hubspot.theirs").events.send.batch_api.send({"inputs": [occurrence]})
    assert held(sandbox, "hubspot.theirs")["events"] == [ours]


def test_what_properties_are_told(sandbox: SandboxClient) -> None:
    told = client(sandbox, "hubspot.theirs").crm.properties.core_api.get_all("contacts")
    kinds = {each.name: (each.type, each.has_unique_value) for each in told.results}
    assert kinds["score"] == ("number", False)
    assert kinds["shop_id"] == ("string", True)
    read_only = [each.name for each in told.results if each.modification_metadata.read_only_value]
    assert "hs_object_id" in read_only


@pytest.mark.parametrize("verb", ["upsert", "create", "update"])
def test_errors_of_some_are_read_by_their_client(sandbox: SandboxClient, verb: str) -> None:
    api = client(sandbox, "hubspot.theirs").crm.contacts.batch_api
    api.upsert({"inputs": [{"idProperty": "shop_id", "id": "u1", "properties": {}}]})
    whose = [{"idProperty": "shop_id", "id": name} if verb != "create" else {} for name in ("u1", "u2")]
    own = [{"shop_id": name} if verb == "create" else {} for name in ("u3", "u4")]
    inputs = [
        {**whose[0], "properties": {**own[0], "score": "7"}, "objectWriteTraceId": "0"},
        {**whose[1], "properties": {**own[1], "score": "high"}, "objectWriteTraceId": "1"},
    ]
    answer = getattr(api, verb)({"inputs": inputs})
    assert answer.num_errors == 1
    assert answer.errors[0].context == {"objectWriteTraceId": ["1"]}
    assert len(answer.results) == 1
