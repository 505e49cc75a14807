"""What we say to Segment and RudderStack against what their own clients say: the sandbox holds the same after
both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.holding import held
from tests.helpers.project import ProjectFolder

PEOPLE = """
    select * from (values
        ('u1', 'anon-1', 'Ada "🎯"', 1.5), ('u2', null, null, 7), ('u3', 'u3', 'é', 0)
    ) as t (user_id, was, first_name, score)
"""
ACCOUNTS = """
    select * from (values ('u1', 'acme', 'Acme', 12), ('u2', 'umbrella', 'Umbrella', 3))
    as t (user_id, account_id, account, seats)
"""
VISITORS = "select * from (values ('anon-1', 'Lovelace')) as t (anonymous_id, last_name)"
CLIENTS = {"segment": "segment.analytics.client", "rudderstack": "rudderstack.analytics.client"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLIENTS)
def test_people_accounts_events_and_aliases(kind: str, tmp_path: Path, sandbox: SandboxClient) -> None:
    module = pytest.importorskip(CLIENTS[kind])
    host = {"segment": "base_url", "rudderstack": "data_plane_url"}[kind]
    ours = {"type": "segment", "write_key": "KEY", host: f"{sandbox.url}/segment.ours"}
    project = ProjectFolder(tmp_path / "shop", {"ours": {**ours, "integrations": {"All": True}}})
    to = {"to": "ours", "max_change": "200%"}
    who = {"identifiers": {"userId": "user_id"}}
    traits = {"first_name": "first_name", "score": "score"}
    visitors = {"identifiers": {"anonymousId": "anonymous_id"}, "mode": "upsert"}
    accounts = {"identifiers": {"userId": "user_id", "groupId": "account_id"}, "mode": "upsert"}
    event = {"mode": "events", "event": "Scored", "fields": {"score": "score"}}
    syncs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "visitors": (VISITORS, "anonymous_id", {**visitors, "fields": {"last_name": "last_name"}}),
        "vips": (PEOPLE, "user_id", {**who, "fields": {**traits, "previousId": "was"}}),
        "accounts": (ACCOUNTS, "user_id", {**accounts, "fields": {"name": "account", "seats": "seats"}}),
        "scored": (f"select * from ({PEOPLE}) where user_id = 'u2'", "user_id", {**who, **event}),
    }
    for name, (query, key, more) in syncs.items():
        project.audience(name, query, {"key": key, "sync": [{**to, **more}]})
    for name in syncs:
        project.open().sync(name)

    theirs = module.Client("KEY", host=f"{sandbox.url}/segment.theirs", sync_mode=True)
    theirs.identify(anonymous_id="anon-1", traits={"last_name": "Lovelace"})
    theirs.alias("anon-1", "u1")
    theirs.identify("u1", {"first_name": 'Ada "🎯"', "score": 1.5, "vips": True})
    theirs.identify("u2", {"first_name": None, "score": 7, "vips": True})
    theirs.identify("u3", {"first_name": "é", "score": 0, "vips": True})
    theirs.group("u1", "acme", {"name": "Acme", "seats": 12})
    theirs.group("u2", "umbrella", {"name": "Umbrella", "seats": 3})
    theirs.track("u2", "Scored", {"score": 7})
    found = held(sandbox, "segment.ours")
    assert found == held(sandbox, "segment.theirs")
    assert found["profiles"]["u1"]["last_name"] == "Lovelace"
    assert "anon-1" not in found["profiles"]
    assert found["profiles"]["acme"] == {"name": "Acme", "seats": 12}
