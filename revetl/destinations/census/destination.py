"""Syncs of Census (Fivetran Activations), triggered and awaited: docs/destinations/census.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.triggered import TriggeredRun, TriggeredSync

UNDER_WAY = frozenset({"queued", "working"})

UNDERSTOOD = (
    SuccessShape("POST /syncs/*/trigger", {"data": {"sync_run_id": (int, str)}}, again=False),
    SuccessShape("GET /sync_runs/*", {"data": dict}),
    SuccessShape("GET /syncs/*/sync_runs", {"data": [{"status": str}]}),
    SuccessShape("GET /syncs", {"data": list}),
)


class Census(TriggeredSync):
    """A sync of a Census workspace, by its id."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD

    type: Literal["census"]
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://app.getcensus.com/api/v1"

    def start(self, sync: str, attempt: str) -> httpx.Request:
        full = {"force_full_sync": "true"} if self.full_resync else None
        return self.request("POST", f"/syncs/{sync}/trigger", params=full)

    def started(self, response: httpx.Response) -> str:
        return str(response.json()["data"]["sync_run_id"])

    def ask(self, sync: str, run: str) -> httpx.Request:
        return self.request("GET", f"/sync_runs/{run}")

    def read_run(self, response: httpx.Response) -> TriggeredRun:
        run = response.json()["data"]
        status = run["status"]
        if status in UNDER_WAY:
            return TriggeredRun(status, is_over=False)
        if status == "skipped":
            return TriggeredRun(status, was_skipped=True)
        if run.get("canceled"):
            return TriggeredRun("canceled", failure="it was canceled there")
        if status != "completed":
            return TriggeredRun(status, failure=_reason(run))
        invalid = run.get("source_record_invalids", run.get("records_invalid"))
        return TriggeredRun(status, rejected=int(run.get("records_failed") or 0) + int(invalid or 0))

    def ask_latest(self, sync: str) -> httpx.Request:
        return self.request("GET", f"/syncs/{sync}/sync_runs", params={"per_page": "5", "order": "desc"})

    def is_free(self, response: httpx.Response) -> bool:
        return all(run["status"] not in UNDER_WAY for run in response.json()["data"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/syncs", params={"per_page": "1"})


def _reason(run: dict[str, Any]) -> str:
    said = run.get("error_message") or run.get("error_detail") or run.get("error_code")
    return str(said or "no reason given").rstrip(".")
