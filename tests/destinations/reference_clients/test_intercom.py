"""What we say to Intercom against what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

intercom = pytest.importorskip("intercom")

PEOPLE = """
    select * from (values
        ('u1', 'ada@example.com', 'Ada "🎯"', 7, timestamp '2026-01-02 03:04:05'),
        ('u2', 'marie@example.com', null, null, null)
    ) as t (user_id, email, name, score, renewed_at)
"""
CONTACTS: dict[str, dict[str, Any]] = {
    "u1": {
        "email": "ada@example.com",
        "name": 'Ada "🎯"',
        "custom_attributes": {"score": 7, "renewed_at": 1_767_323_045},
    },
    "u2": {
        "email": "marie@example.com",
        "name": None,
        "custom_attributes": {"score": None, "renewed_at": None},
    },
}


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds, but for the ids that it gives."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/{name}").json()
    members = {audience: sorted(each["members"]) for audience, each in found["audiences"].items()}
    for person in found["profiles"].values():
        del person["id"]
    return {"profiles": found["profiles"], "members": members, "events": found["events"]}


@pytest.mark.slow
def test_contacts_tags_and_events(tmp_path: Path, sandbox: SandboxClient) -> None:
    ours = {"type": "intercom", "access_token": "TOKEN", "base_url": f"{sandbox.url}/intercom.ours"}
    project = ProjectFolder(tmp_path / "shop", {"ours": ours})
    project.audience("vips", PEOPLE, {"key": "user_id", "sync": [{"to": "ours", "max_change": "200%"}]})
    event = {"to": "ours", "mode": "events", "event": "churned", "timestamp": "renewed_at"}
    meta = {"key": "user_id", "sync": [{**event, "fields": {"score": "score"}}]}
    project.audience("churned", f"select * from ({PEOPLE}) where user_id = 'u1'", meta)
    for audience in ("vips", "churned"):
        (run,) = project.open().sync(audience)
        assert run.status == "success"

    theirs = intercom.Intercom(token="TOKEN", base_url=f"{sandbox.url}/intercom.theirs")
    tag = theirs.tags.create(request={"name": "vips"})
    for external_id, fields in CONTACTS.items():
        body = {"role": "user", "external_id": external_id, **fields}
        made = theirs.contacts.create(request=body)
        theirs.tags.tag_contact(contact_id=made.id, tag_id=tag.id)
    known = theirs.data_attributes.list(model="contact")
    assert {each.name: each.data_type for each in known.data}["score"] == "integer"
    theirs.events.create(
        request={
            "user_id": "u1",
            "event_name": "churned",
            "created_at": 1_767_323_045,
            "metadata": {"score": 7},
        }
    )
    assert held(sandbox, "intercom.ours") == held(sandbox, "intercom.theirs")

    project.audience("vips", f"select * from ({PEOPLE}) where user_id = 'u1'")
    project.open().sync("vips")
    query = intercom.SingleFilterSearchRequest(field="external_id", operator="=", value="u2")
    (found,) = theirs.contacts.search(query=query)
    theirs.tags.untag_contact(contact_id=found.id, tag_id=tag.id)
    assert held(sandbox, "intercom.ours") == held(sandbox, "intercom.theirs")
    assert held(sandbox, "intercom.ours")["members"] == {"vips": ["u1"]}
    theirs.contacts.delete(contact_id=found.id)
    assert set(held(sandbox, "intercom.theirs")["profiles"]) == {"u1"}
