"""Syncs and runs of a Hightouch workspace: docs/destinations/hightouch.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis import runs
from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination


@dataclass(frozen=True)
class HightouchApi:
    """Triggers and run states. A sync looked up by its slug has the id 1001."""

    name: str = "hightouch"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return ApiResponse(401, "Unauthorized")
        match sent.method, sent.parts:
            case "GET", ["syncs"]:
                slug = sent.asked.get("slug")
                found = [] if slug == runs.UNKNOWN else [{"id": 1001, "slug": slug or "a-sync"}]
                return Call({"data": found, "hasMore": False}, [], "find")
            case "POST", ["syncs", sync, "trigger"]:
                if sync == runs.UNKNOWN:
                    return _not_found(sync)
                if not isinstance(sent.json().get("fullResync", False), bool):
                    return ApiResponse(422, {"message": "Validation failed", "details": {}})
                return Call(sent.json(), [sync], "trigger")
            case "GET", ["syncs", sync, "runs"]:
                run = sent.asked.get("runId")
                if run is not None and runs.run_of(held, run) is None:
                    return Call([], [], "runs")
                return Call(
                    [run] if run else runs.runs_of(held, sync)[: int(sent.asked["limit"])], [], "runs"
                )
        return _not_found(sent.path)

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "find":
                return ApiResponse(200, call.body)
            case "trigger":
                return ApiResponse(200, {"id": runs.begin(held, call.ids[0], rejecting)}, applied=True)
        return ApiResponse(200, {"data": [_shown(held, run) for run in call.body], "hasMore": False})


def _shown(held: HeldByDestination, id_: str) -> dict[str, Any]:
    run = runs.look(held, id_)
    error = runs.failure(run)
    if not runs.is_over(run):
        status = "processing"
    elif error is not None:
        status = "failed"
    else:
        status = "warning" if runs.rejected(run) else "success"
    failed = {"addedCount": runs.rejected(run), "changedCount": 0, "removedCount": 0}
    return {"id": int(id_), "status": status, "failedRows": failed} | ({"error": error} if error else {})


def _not_found(what: str) -> ApiResponse:
    return ApiResponse(404, {"message": f"{what} was not found"})
