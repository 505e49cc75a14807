"""What we say to Amplitude beside what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

from concurrent.futures import wait
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

amplitude = pytest.importorskip("amplitude")

PEOPLE = """
    select * from (values ('user-1', 'Ada "🎯"', 1.5, 'pro'), ('user-2', 'Marie', 2.0, null))
    as t (user_id, first_name, score, plan)
"""


class Theirs:
    """Amplitude's client, which is sent to the sandbox; it sends user properties as events."""

    def __init__(self, sandbox: SandboxClient, path: str, *, use_batch: bool = False) -> None:
        url = f"{sandbox.url}/amplitude.theirs{path}"
        made = amplitude.config.Config(api_key="KEY", server_url=url, use_batch=use_batch, min_id_length=1)
        self._client = amplitude.Amplitude("KEY", made)

    def identify(self, person: str, **operations: dict[str, Any]) -> None:
        """Operations on the properties of a person."""
        changed = amplitude.Identify()
        for operation, values in operations.items():
            for name, value in values.items():
                given = (name,) if operation == "unset" else (name, value)
                getattr(changed, operation)(*given)
        self._client.identify(changed, amplitude.EventOptions(user_id=person))
        self.flush()

    def track(self, **about: Any) -> None:
        """An event."""
        self._client.track(amplitude.BaseEvent(**about))
        self.flush()

    def flush(self) -> None:
        wait([each for each in self._client.flush() if each is not None], timeout=10)


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/amplitude.{name}").json()
    return {key: found[key] for key in ("profiles", "events")}


@pytest.mark.slow
@pytest.mark.parametrize("use_batch", [False, True])
def test_properties_and_events(tmp_path: Path, sandbox: SandboxClient, use_batch: bool) -> None:
    own = {"type": "amplitude", "api_key": "KEY", "use_batch": use_batch, "min_id_length": 1}
    there = {"ours": {**own, "base_url": f"{sandbox.url}/amplitude.ours"}}
    project = ProjectFolder(tmp_path / "shop", there)
    fields = {"name": "first_name", "score": "score", "plan": "plan"}
    sync = {"to": "ours", "mode": "upsert", "null": "clear", "set_if_empty": ["score"], "fields": fields}
    theirs = Theirs(sandbox, "/batch" if use_batch else "/2/httpapi", use_batch=use_batch)

    project.audience("vips", PEOPLE, {"key": "user_id", "sync": [sync]})
    project.open().sync("vips")
    theirs.identify("user-1", set={"name": 'Ada "🎯"', "plan": "pro"}, set_once={"score": 1.5})
    theirs.identify("user-2", set={"name": "Marie"}, set_once={"score": 2.0}, unset={"plan": None})
    assert held(sandbox, "ours") == held(sandbox, "theirs")

    project.audience("vips", PEOPLE.replace("'pro'", "null").replace("1.5", "9.5"))
    project.open().sync("vips")
    theirs.identify("user-1", set={"name": 'Ada "🎯"'}, set_once={"score": 9.5}, unset={"plan": None})
    assert held(sandbox, "ours") == held(sandbox, "theirs")
    assert held(sandbox, "ours")["profiles"]["user-1"] == {"name": 'Ada "🎯"', "score": 1.5}

    orders = "select 'user-1' as user_id, 7 as amount, timestamp '2026-01-02' as seen_at"
    bought = {"to": "ours", "mode": "events", "event": "bought", "timestamp": "seen_at"}
    meta = {"key": "user_id", "sync": [{**bought, "fields": {"amount": "amount"}}]}
    project.audience("orders", orders, meta)
    project.open().sync("orders")
    (ours,) = held(sandbox, "ours")["events"]
    about = {"time": 1_767_312_000_000, "insert_id": ours["message_id"], "event_properties": {"amount": 7}}
    for _ in range(2):
        theirs.track(event_type="bought", user_id="user-1", **about)
    assert held(sandbox, "theirs")["events"] == [ours]
