"""Syncs of Polytomic, triggered and awaited: docs/destinations/polytomic.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.triggered import TriggeredRun, TriggeredSync

OVER = frozenset({"completed", "errors", "failed", "canceled", "interrupted"})
FAILED = frozenset({"failed", "canceled", "interrupted"})

UNDERSTOOD = (
    SuccessShape("POST /executions", {"data": {"id": str}}),
    SuccessShape("GET /executions/*", {"data": {"status": str}}),
    SuccessShape("GET /executions", {"data": [{"status": str}]}),
    SuccessShape("GET /api/me", {"data": dict}),
)


class Polytomic(TriggeredSync):
    """A sync of Polytomic by its id: a model sync, or a bulk sync."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD

    type: Literal["polytomic"]
    kind: Literal["model", "bulk"] = "model"
    version: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = "2025-09-18"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://app.polytomic.com"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "X-Polytomic-Version": self.version}

    def executions(self, sync: str) -> str:
        """Return the path of a sync's executions."""
        kind = "bulk/syncs" if self.kind == "bulk" else "syncs"
        return f"/api/{kind}/{sync}/executions"

    def start(self, sync: str, attempt: str) -> httpx.Request:
        asked: dict[str, Any] = {}
        if self.full_resync:
            asked = {"resync_mode": "resync"} if self.kind == "bulk" else {"resync": True}
        return self.post(self.executions(sync), json=asked, headers={"Idempotency-Key": attempt})

    def started(self, response: httpx.Response) -> str:
        return str(response.json()["data"]["id"])

    def ask(self, sync: str, run: str) -> httpx.Request:
        return self.request("GET", f"{self.executions(sync)}/{run}")

    def read_run(self, response: httpx.Response) -> TriggeredRun:
        run = response.json()["data"]
        status = run["status"]
        if status not in OVER:
            return TriggeredRun(status, is_over=False)
        if status in FAILED:
            said = run.get("status_message") or "; ".join(run.get("errors") or ())
            return TriggeredRun(status, failure=said or "no reason given")
        # Model syncs report errors in `counts`, bulk syncs next to the status.
        count = run.get("error_count") or (run.get("counts") or {}).get("error") or 0
        return TriggeredRun(status, rejected=int(count) or int(status == "errors"))

    def ask_latest(self, sync: str) -> httpx.Request:
        return self.request("GET", self.executions(sync))

    def is_free(self, response: httpx.Response) -> bool:
        return all(run["status"] in OVER for run in response.json()["data"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/api/me")
