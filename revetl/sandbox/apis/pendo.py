"""Pendo's API: docs/destinations/pendo.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_CUSTOM = {
    "score": "number",
    "first_name": "string",
    "last_name": "string",
    "city": "string",
    "is_vip": "boolean",
    "seen_at": "time",
}


@dataclass(frozen=True)
class PendoApi:
    """Visitors with six custom fields, segments and events. Rejected values are only counted, without naming
    the visitor; a rejected segment patch fails as a whole."""

    max_visitors: int = 1_000
    max_deleted: int = 500
    name: str = "pendo"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("x-pendo-integration-key"):
            return ApiResponse(403, {"message": "forbidden"})
        match sent.method, sent.parts:
            case "GET", ["api", "v1", "token", "verify"]:
                return Call({"valid": True, "writeAccess": True}, [], "probe")
            case "GET", ["api", "v1", "metadata", "schema", "visitor"]:
                fields = {name: {"DisplayName": name, "Type": kind} for name, kind in _CUSTOM.items()}
                return Call({"custom": fields, "agent": {}, "auto": {}}, [], "schema")
            case "GET", ["api", "v1", "segment"]:
                there = [
                    {"id": made, "name": name, "createdByApi": True} for made, name in held.lists.items()
                ]
                return Call(there, [], "find")
            case "POST", ["api", "v1", "segment", "upload"]:
                body = sent.json()
                if not body.get("visitors"):
                    return ApiResponse(400, {"message": "a segment needs visitors"})
                return Call(body["name"], [], "create")
            case "PATCH", ["api", "v1", "segment", segment, "visitor"]:
                if segment not in held.lists:
                    return ApiResponse(404, {"message": "no such segment"})
                (patch,) = sent.json()["patch"]
                return self._limited(Call((segment, patch["op"]), list(map(str, patch["value"])), "patch"))
            case "POST", ["api", "v1", "metadata", "visitor", "custom", "value"]:
                body = sent.json()
                creates = sent.asked.get("create") == "true"
                return self._limited(
                    Call((body, creates), [str(each["visitorId"]) for each in body], "metadata")
                )
            case "POST", ["api", "v1", "bulkdelete", "visitor"]:
                people = list(map(str, sent.json()["visitors"]))
                if len(people) > self.max_deleted:
                    return ApiResponse(400, {"message": f"more than {self.max_deleted} visitors"})
                return Call(None, people, "erase")
            case "POST", ["data", "track"]:
                return _track(sent.json())
        return ApiResponse(404, {"message": f"nothing at {sent.path}"})

    def _limited(self, call: Call) -> Call | ApiResponse:
        if len(call.ids) > self.max_visitors:
            return ApiResponse(400, {"message": f"more than {self.max_visitors} visitors"})
        return call

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "create":
                # The placeholder member is not a visitor.
                return ApiResponse(200, {"segmentId": held.new_list(call.body)}, applied=True)
            case "patch":
                return _patched(call, held, rejecting)
            case "metadata":
                return _described(call, held, rejecting)
            case "erase":
                for person in call.ids:
                    held.erase(person)
                return ApiResponse(200, {"id": held.new_job(), "status": "PENDING"}, applied=True)
            case "track":
                if (reason := refusing(rejecting, call.ids[0])) is not None:
                    return ApiResponse(400, {"message": reason})
                held.track(None, call.ids[0], call.body["event"], call.body["properties"])
                return ApiResponse(200, {}, applied=True)
        return ApiResponse(200, call.body)


def _track(body: Mapping[str, Any]) -> Call | ApiResponse:
    needed = ("type", "event", "visitorId", "timestamp", "context")
    if missing := [name for name in needed if body.get(name) is None]:
        return ApiResponse(400, {"message": f"missing: {', '.join(missing)}"})
    return Call(body, [str(body["visitorId"])], "track")


def _patched(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    segment, operation = call.body
    for person in call.ids:
        if (reason := refusing(rejecting, person)) is not None:
            said = {"status": 400, "message": reason, "operation": operation}
            return ApiResponse(200, {"multistatus": [said]})
    for person in call.ids:
        if operation == "add":
            held.put(held.lists[segment], person, {})
        else:
            held.take_out(held.lists[segment], person)
    done = {"status": 200, "message": "success", "operation": operation}
    return ApiResponse(200, {"multistatus": [done]}, applied=True)


def _described(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    visitors, creates = call.body
    missing, errors = [], []
    for visitor, person in zip(visitors, call.ids, strict=True):
        unknown = [name for name in visitor["values"] if name not in _CUSTOM]
        reason = f"no such field: {unknown[0]}" if unknown else refusing(rejecting, person)
        if reason is not None:
            errors.append(reason)
        elif person in held.profiles or creates:
            held.put(None, person, visitor["values"])
        else:
            missing.append(person)
    failed = len(missing) + len(errors)
    body = {"total": len(visitors), "updated": len(visitors) - failed, "failed": failed, "kind": "visitor"}
    more = {name: values for name, values in (("missing", missing), ("errors", errors)) if values}
    return ApiResponse(200, {**body, **more}, applied=True)
