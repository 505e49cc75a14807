"""Syncs of Hightouch, triggered and awaited: docs/destinations/hightouch.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import Asking, RateLimit, Refused
from revetl.destinations.base.triggered import TriggeredRun, TriggeredSync

DONE = frozenset({"success", "warning"})
FAILED = frozenset({"failed", "cancelled", "interrupted", "aborted"})

UNDERSTOOD = (
    SuccessShape("POST /syncs/*/trigger", {"id": (str, int)}, again=False),
    SuccessShape("GET /syncs/*/runs", {"data": [{"status": str}]}),
    SuccessShape("GET /syncs", {"data": [dict]}),
)


class Hightouch(TriggeredSync):
    """A sync of Hightouch, by its id or slug."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    rate: ClassVar[RateLimit | None] = RateLimit(requests=200, per_seconds=10)

    type: Literal["hightouch"]
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://api.hightouch.com/api/v1"

    def known_as(self, sync: str) -> Asking[str]:
        if sync.isdecimal():
            return sync
        response = yield self.request("GET", "/syncs", params={"slug": sync})
        found = response.json()["data"]
        if not found:
            raise Refused(f"hightouch has no sync with slug '{sync}'. Set sync_id to a sync's id or slug.")
        return str(found[0]["id"])

    def start(self, sync: str, attempt: str) -> httpx.Request:
        return self.post(f"/syncs/{sync}/trigger", json={"fullResync": self.full_resync})

    def started(self, response: httpx.Response) -> str:
        return str(response.json()["id"])

    def ask(self, sync: str, run: str) -> httpx.Request:
        return self.request("GET", f"/syncs/{sync}/runs", params={"runId": run})

    def read_run(self, response: httpx.Response) -> TriggeredRun:
        runs = response.json()["data"]
        if not runs or runs[0]["status"] not in DONE | FAILED:
            # A run that was just triggered may not be listed yet.
            return TriggeredRun("queued", is_over=False)
        run = runs[0]
        status, counts = run["status"], run.get("failedRows") or {}
        if status in FAILED:
            return TriggeredRun(status, failure=run.get("error") or "no reason given")
        return TriggeredRun(status, rejected=sum(int(count or 0) for count in counts.values()))

    def ask_latest(self, sync: str) -> httpx.Request:
        return self.request("GET", f"/syncs/{sync}/runs", params={"limit": "5", "orderBy": "id"})

    def is_free(self, response: httpx.Response) -> bool:
        return all(run["status"] in DONE | FAILED for run in response.json()["data"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/syncs", params={"limit": "1"})
