"""Model syncs and bulk syncs of Polytomic, and their executions: docs/destinations/polytomic.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis import runs
from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination


@dataclass(frozen=True)
class PolytomicApi:
    """Executions, one at a time per sync, and their states; an idempotency key returns the existing
    execution."""

    name: str = "polytomic"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _error(401, "unauthorized")
        is_bulk = sent.parts[:2] == ["api", "bulk"]
        parts = sent.parts[2:] if is_bulk else sent.parts[1:]
        match sent.method, parts:
            case "GET", ["me"]:
                return Call({"data": {"email": "sandbox@example.com"}}, [], "probe")
            case "POST", ["syncs", sync, "executions"] if sync != runs.UNKNOWN:
                if is_bulk and "resync" in sent.json():
                    return _error(400, "resync is no longer accepted; send resync_mode")
                key = sent.headers.get("idempotency-key", "")
                if not self._made(held, key) and runs.is_busy(held, sync):
                    return _error(409, "an execution of this sync is already running")
                return Call({"key": key, "bulk": is_bulk}, [sync], "trigger")
            case "GET", ["syncs", sync, "executions"]:
                return Call(runs.runs_of(held, sync), [], "runs")
            case "GET", ["syncs", _, "executions", run] if runs.run_of(held, run) is not None:
                return Call(run, [], "run")
        return _error(404, "not found")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "probe":
                return ApiResponse(200, call.body)
            case "trigger":
                run = self._made(held, call.body["key"]) or runs.begin(
                    held, call.ids[0], rejecting, **call.body
                )
                return ApiResponse(200, {"data": {"id": run, "status": "created"}}, applied=True)
            case "run":
                return ApiResponse(200, {"data": _shown(held, call.body)})
        return ApiResponse(200, {"data": [_shown(held, run) for run in call.body]})

    @staticmethod
    def _made(held: HeldByDestination, key: str) -> str | None:
        """Return the execution created with an idempotency key."""
        return next((name.removeprefix("job-") for name, run in held.jobs.items() if run["key"] == key), None)


def _shown(held: HeldByDestination, id_: str) -> dict[str, Any]:
    run = runs.look(held, id_)
    error = runs.failure(run)
    ended = "completed" if error is None else "failed"
    status = ended if runs.is_over(run) else "running"
    if run["bulk"]:
        return {"id": id_, "status": status, "status_message": error, "error_count": runs.rejected(run)}
    counts = {"error": runs.rejected(run)}
    return {"id": id_, "status": status, "counts": counts, "errors": [error] if error else None}


def _error(status: int, message: str) -> ApiResponse:
    return ApiResponse(status, {"status": status, "message": message})
