"""Fullstory's API: docs/destinations/fullstory.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_PROPERTY = re.compile("[A-Za-z][A-Za-z0-9_]{0,511}")
_PAGE = 10


@dataclass(frozen=True)
class FullStoryApi:
    """Users and events through import jobs, which are still processing on the first status request. A job's
    errors come in pages of ten, each with its whole item."""

    max_items: int = 50_000
    name: str = "fullstory"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("authorization", "").startswith("Basic "):
            return _error(401, "unauthorized", "access is unauthorized")
        match sent.method, sent.parts:
            case "GET", ["me"]:
                return Call({"email": "", "orgId": "SANDBOX", "role": "ADMIN"}, [], "probe")
            case "POST", ["v2", "users" | "events" as kind, "batch"]:
                items = sent.json().get("requests") or []
                if not 0 < len(items) <= self.max_items:
                    return _error(400, "invalid_request", f"1 to {self.max_items} requests")
                ids = [_person(item if kind == "users" else item.get("user", {})) for item in items]
                if not all(ids):
                    return _error(400, "required_field", "uid is required")
                return Call(items, ids, kind)
            case "GET", ["v2", "users" | "events", "batch", job] if job in held.jobs:
                return Call(job, [], "state")
            case "GET", ["v2", "users" | "events", "batch", job, "errors"] if job in held.jobs:
                return Call((job, int(sent.asked.get("page_token", 0))), [], "errors")
            case "DELETE", ["v2", "users", *rest]:
                person = rest[0] if rest else sent.asked.get("uid", "")
                known = person in held.profiles
                return Call(None, [person], "erase") if known else _error(404, "resource_not_found", person)
        return _error(404, "resource_not_found", f"nothing at {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "users" | "events":
                return _imported(call, held, rejecting)
            case "state":
                return _state(call.body, held)
            case "errors":
                job, first = call.body
                failed = held.jobs[job]["failed"]
                last = first + _PAGE
                more = {"next_page_token": str(last)} if last < len(failed) else {}
                return ApiResponse(
                    200, {"results": failed[first:last], "total_records": str(len(failed)), **more}
                )
            case "erase":
                held.erase(call.ids[0])
                return ApiResponse(200, {}, applied=True)
        return ApiResponse(200, call.body)


def _imported(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    failed: list[dict[str, Any]] = []
    one = call.operation.removesuffix("s")
    for item, person in zip(call.body, call.ids, strict=True):
        properties = item.get("properties") or {}
        bad = next((name for name in properties if not _PROPERTY.fullmatch(name)), None)
        reason = f"invalid property: {bad}" if bad is not None else refusing(rejecting, person)
        if reason is not None:
            failed.append({"message": reason, "code": "invalid_request", one: item})
        elif call.operation == "events":
            held.track(None, person, item["name"], properties)
        else:
            own = {name: item[name] for name in ("display_name", "email") if name in item}
            held.merge(person, {**own, **properties})
    job = held.new_job(failed=failed, imports=len(call.ids) - len(failed), asked=0)
    return ApiResponse(200, {"job": _about(job, "PROCESSING")}, applied=True)


def _state(job: str, held: HeldByDestination) -> ApiResponse:
    about = held.jobs[job]
    about["asked"] += 1
    ended = "FAILED" if about["failed"] else "COMPLETED"
    status = "PROCESSING" if about["asked"] == 1 else ended
    counts = {"imports": about["imports"], "errors": len(about["failed"])}
    return ApiResponse(200, {**counts, "job": _about(job, status)})


def _about(job: str, status: str) -> dict[str, str]:
    return {"id": job, "status": status, "created": "2026-01-01T00:00:00Z"}


def _person(user: dict[str, Any]) -> str:
    return str(user.get("uid") or user.get("id") or "")


def _error(status: int, code: str, message: str) -> ApiResponse:
    return ApiResponse(status, {"code": code, "message": message})
