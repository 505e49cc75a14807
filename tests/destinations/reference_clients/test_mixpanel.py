"""What we say to Mixpanel beside what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

mixpanel = pytest.importorskip("mixpanel")

OWN = {
    "type": "mixpanel",
    "project_token": "TOKEN",
    "project_id": "77",
    "service_account_username": "robot",
    "service_account_secret": "SECRET",
}
PEOPLE = """
    select * from (values ('u1', 'Ada "🎯"', 1.5, 'pro'), ('u2', 'Marie', 2.0, null))
    as t (user_id, first_name, score, plan)
"""
FIELDS = {"$name": "first_name", "score": "score", "plan": "plan"}


def client(sandbox: SandboxClient) -> Any:
    """Mixpanel's client, which is sent to the sandbox."""
    at = f"{sandbox.url}/mixpanel.theirs"
    account = mixpanel.ServiceAccountCredentials("robot", "SECRET", "77")
    consumer = mixpanel.Consumer(people_url=f"{at}/engage", import_url=f"{at}/import", credentials=account)
    return mixpanel.Mixpanel("TOKEN", consumer=consumer)


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/mixpanel.{name}").json()
    return {key: found[key] for key in ("profiles", "audiences", "events")}


@pytest.fixture
def project(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    return ProjectFolder(tmp_path / "shop", {"ours": {**OWN, "base_url": f"{sandbox.url}/mixpanel.ours"}})


@pytest.mark.slow
def test_profiles(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sync = {"to": "ours", "max_change": "200%", "null": "clear", "set_if_empty": ["score"], "fields": FIELDS}
    project.audience("vips", PEOPLE, {"key": "user_id", "sync": [sync]})
    theirs = client(sandbox)

    def same_after() -> dict[str, Any]:
        (run,) = project.open().sync("vips")
        assert run.status == "success"
        assert held(sandbox, "ours") == held(sandbox, "theirs")
        found: dict[str, Any] = held(sandbox, "ours")["profiles"]
        return found

    theirs.people_set("u1", {"$name": 'Ada "🎯"', "plan": "pro", "vips": True})
    theirs.people_set_once("u1", {"score": 1.5})
    theirs.people_set("u2", {"$name": "Marie", "vips": True})
    theirs.people_set_once("u2", {"score": 2.0})
    theirs.people_unset("u2", ["plan"])
    same_after()

    project.audience("vips", "select 'u1' as user_id, 'Ada' as first_name, 9.5 as score, null as plan")
    theirs.people_set("u1", {"$name": "Ada", "vips": True})
    theirs.people_set_once("u1", {"score": 9.5})
    theirs.people_unset("u1", ["plan"])
    theirs.people_set("u2", {"vips": False})
    there = same_after()
    assert there["u1"] == {"$name": "Ada", "vips": True, "score": 1.5}


@pytest.mark.slow
def test_events_and_deletions(project: ProjectFolder, sandbox: SandboxClient) -> None:
    events = "select 'u1' as user_id, 7 as score, timestamp '2026-01-02' as seen_at"
    sync = {"to": "ours", "mode": "events", "event": "churned", "timestamp": "seen_at"}
    fields = {"fields": {"score": "score"}}
    project.audience("churned", events, {"key": "user_id", "sync": [{**sync, **fields}]})
    project.open().sync("churned")
    (ours,) = held(sandbox, "ours")["events"]
    theirs = client(sandbox)
    for _ in range(2):
        about = {"score": 7, "$insert_id": ours["message_id"]}
        theirs.import_data(None, "u1", "churned", 1_767_312_000, about, meta={})
    (event,) = held(sandbox, "theirs")["events"]
    event["properties"].pop("$lib_version")
    assert event == ours

    theirs.people_set("u1", {"score": 7})
    theirs.people_delete("u1")
    gone = "select 'u1' as user_id"
    project.audience("gone", gone, {"key": "user_id", "sync": [{"to": "ours", "mode": "delete"}]})
    project.open().sync("gone")
    assert held(sandbox, "ours")["profiles"] == held(sandbox, "theirs")["profiles"] == {}
