"""Syncs and sync runs of a Census workspace: docs/destinations/census.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis import runs
from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination


@dataclass(frozen=True)
class CensusApi:
    """Triggers and run states; a run triggered while another is in progress is skipped."""

    name: str = "census"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer.startswith("secret-token:"):
            return ApiResponse(401, {"status": "unauthorized", "message": "Access token is invalid"})
        match sent.method, sent.parts:
            case "GET", ["syncs"]:
                return Call([], [], "find")
            case "POST", ["syncs", sync, "trigger"] if sync != runs.UNKNOWN:
                return Call({"full_sync": sent.asked.get("force_full_sync") == "true"}, [sync], "trigger")
            case "GET", ["syncs", sync, "sync_runs"]:
                return Call(runs.runs_of(held, sync)[: int(sent.asked["per_page"])], [], "runs")
            case "GET", ["sync_runs", run] if runs.run_of(held, run) is not None:
                return Call(run, [], "run")
        return ApiResponse(404, {"status": "not_found"})

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "trigger":
                (sync,) = call.ids
                run = runs.begin(held, sync, rejecting, skipped=runs.is_busy(held, sync))
                if held.jobs[f"job-{run}"]["skipped"]:
                    held.jobs[f"job-{run}"]["asked"] = 2
                return ApiResponse(
                    200, {"status": "success", "data": {"sync_run_id": int(run)}}, applied=True
                )
            case "run":
                return ApiResponse(200, {"status": "success", "data": _shown(held, call.body)})
        return ApiResponse(200, {"status": "success", "data": [_shown(held, run) for run in call.body]})


def _shown(held: HeldByDestination, id_: str) -> dict[str, Any]:
    run = runs.look(held, id_)
    error = runs.failure(run)
    if run["skipped"]:
        status = "skipped"
    elif not runs.is_over(run):
        status = "working"
    else:
        status = "completed" if error is None else "failed"
    return {
        "id": int(id_),
        "sync_id": run["sync"],
        "status": status,
        "canceled": False,
        "records_failed": runs.rejected(run),
        "source_record_invalids": 0,
        "error_message": error,
    }
