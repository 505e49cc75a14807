"""What we say to Customer.io against what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SandboxClient
from tests.helpers.holding import held
from tests.helpers.project import ProjectFolder

customerio = pytest.importorskip("customerio")

PEOPLE = """
    select * from (values
        ('u1', 'Ada@example.com', 'Ada "🎯"', 1.5), ('u2', 'marie@example.com', null, 7)
    ) as t (user_id, email, first_name, score)
"""


def client(sandbox: SandboxClient, name: str) -> Any:
    """Their client, which speaks to nothing but https, and is led to the sandbox."""

    class Plain(customerio.CustomerIO):  # type: ignore[name-defined,misc]
        def send_request(self, method: str, url: str, data: Any) -> Any:
            return super().send_request(method, url.replace("https://", "http://"), data)

    return Plain("SITE", "KEY", host=f"{sandbox.url.removeprefix('http://')}/{name}")


def told(action: str, person: str, **more: Any) -> dict[str, Any]:
    return {"type": "person", "action": action, "identifiers": {"id": person}, **more}


@pytest.mark.slow
def test_people_events_and_erasure(tmp_path: Path, sandbox: SandboxClient) -> None:
    address = f"{sandbox.url}/customer_io.ours"
    keys = {"site_id": "SITE", "api_key": "KEY", "app_api_key": "APP"}
    ours = {"type": "customer_io", **keys, "base_url": address, "app_url": address}
    project = ProjectFolder(tmp_path / "shop", {"ours": ours})
    sync = {
        "to": "ours",
        "max_change": "200%",
        "identifiers": {"id": "user_id", "email": "email"},
        "fields": {"first_name": "first_name", "score": "score"},
    }
    event = {"to": "ours", "mode": "events", "event": "churned", "identifiers": {"id": "user_id"}}
    erasing = {"to": "ours", "mode": "delete", "max_change": "200%", "identifiers": {"id": "user_id"}}
    one = f"select * from ({PEOPLE}) where user_id = 'u2'"
    project.audience("vips", PEOPLE, {"key": "user_id", "sync": [sync]})
    project.audience("churned", one, {"key": "user_id", "sync": [{**event, "fields": {"score": "score"}}]})
    project.audience("forgotten", one, {"key": "user_id", "sync": [{**erasing, "fields": {}}]})
    project.open().sync("vips")
    project.open().sync("churned")

    theirs = client(sandbox, "customer_io.theirs")
    ada = {"email": "ada@example.com", "first_name": 'Ada "🎯"', "score": 1.5}
    marie = {"email": "marie@example.com", "first_name": None, "score": 7}
    theirs.batch([told("identify", "u1", attributes=ada), told("identify", "u2", attributes=marie)])
    theirs.batch([told("event", "u2", name="churned", attributes={"score": 7})])
    # Their client has no calls for segments.
    app = {"Authorization": "Bearer APP"}
    there = f"{sandbox.url}/customer_io.theirs"
    made = httpx.post(f"{there}/v1/segments", json={"segment": {"name": "vips"}}, headers=app).json()
    path = f"/api/v1/segments/{made['segment']['id']}/add_customers?id_type=id"
    httpx.post(there + path, json={"ids": ["u1", "u2"]}, auth=("SITE", "KEY")).raise_for_status()
    assert held(sandbox, "customer_io.ours") == held(sandbox, "customer_io.theirs")

    project.open().sync("forgotten")
    theirs.batch([told("delete", "u2")])
    assert held(sandbox, "customer_io.ours") == held(sandbox, "customer_io.theirs")
    assert list(held(sandbox, "customer_io.ours")["profiles"]) == ["u1"]
