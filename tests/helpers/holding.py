"""What the sandbox holds, as two clients of one API may have put it there."""

from __future__ import annotations

from typing import Any

import httpx

from tests.conftest import SandboxClient


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds: people with their fields, the members of audiences, events without the ids
    of their messages."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/{name}").json()
    members = {audience: sorted(each["members"]) for audience, each in found["audiences"].items()}
    events = [{key: each[key] for key in ("person", "event", "properties")} for each in found["events"]]
    return {"profiles": found["profiles"], "members": members, "events": events}
