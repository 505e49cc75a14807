"""Customer.io's Track and App APIs: docs/destinations/customer_io.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_ACTIONS = ("identify", "event", "delete", "suppress", "merge")
_ULID = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")


@dataclass(frozen=True)
class CustomerIoApi:
    """Manual segments, and people by their first identifier. Each object of a batch is accepted or rejected
    individually; the errors of a 207 response have their indexes."""

    max_bytes: int = 500_000
    max_object_bytes: int = 32_768
    max_ids: int = 1_000
    name: str = "customer_io"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        scheme = sent.headers.get("authorization", "").partition(" ")[0]
        if scheme != ("Bearer" if sent.parts[0] == "v1" else "Basic"):
            return ApiResponse(401, {"meta": {"error": "Unauthorized request"}})
        match sent.method, sent.parts:
            case "GET", ["api", "v1", "accounts", "region"]:
                return Call({"region": "us", "url": "track.customer.io"}, [], "probe")
            case "GET", ["v1", "segments"]:
                return Call(None, [], "find")
            case "POST", ["v1", "segments"]:
                return Call(sent.json()["segment"]["name"], [], "create")
            case "POST", ["api", "v1", "segments", segment, verb]:
                if segment not in held.lists:
                    return ApiResponse(404, {"meta": {"error": "segment not found"}})
                ids = [str(each) for each in sent.json()["ids"]]
                if len(ids) > self.max_ids:
                    return ApiResponse(400, {"meta": {"error": f"more than {self.max_ids} ids"}})
                return Call(held.lists[segment], ids, verb)
            case "POST", ["api", "v2", "batch"]:
                if len(sent.raw) > self.max_bytes:
                    return ApiResponse(
                        413, {"errors": [{"reason": "too_large", "message": "at most 500 KB"}]}
                    )
                batch = sent.json()["batch"]
                return Call(batch, [_called(each.get("identifiers")) for each in batch], "batch")
        return ApiResponse(404, {"meta": {"error": "not found"}})

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "probe":
                return ApiResponse(200, call.body)
            case "find":
                segments = [
                    {"id": int(made), "name": name, "type": "manual"} for made, name in held.lists.items()
                ]
                return ApiResponse(200, {"segments": segments})
            case "create":
                made = {"id": int(held.new_list(call.body)), "name": call.body, "type": "manual"}
                return ApiResponse(200, {"segment": made}, applied=True)
            case "add_customers" | "remove_customers":
                for person in call.ids:
                    if call.operation == "add_customers":
                        held.put(call.body, person, {})
                    else:
                        held.take_out(call.body, person)
                return ApiResponse(200, {}, applied=True)
        errors = []
        for at, (each, person) in enumerate(zip(call.body, call.ids, strict=True)):
            wrong = self._wrong(each, person)
            if wrong is None and (reason := refusing(rejecting, person)) is not None:
                wrong = ("identifiers", "invalid", reason)
            if wrong is None:
                _apply(each, person, held)
            else:
                field, reason, message = wrong
                errors.append({"batch_index": at, "field": field, "reason": reason, "message": message})
        return ApiResponse(207 if errors else 200, {"errors": errors} if errors else {}, applied=True)

    def _wrong(self, each: dict[str, Any], person: str) -> tuple[str, str, str] | None:
        """Return the field, reason and message of a rejected object."""
        if len(str(each).encode()) > self.max_object_bytes:
            return "", "too_large", "at most 32 KB"
        if each.get("action") not in _ACTIONS:
            return "action", "invalid", "unknown action"
        if each["action"] != "merge" and (not person or len(each["identifiers"]) != 1):
            return "identifiers", "required", "one identifier is required"
        if "email" in each.get("identifiers", {}) and "@" not in person:
            return "identifiers.email", "invalid", "not an email address"
        if each["action"] == "event" and not each.get("name"):
            return "name", "required", "must have a name"
        if "id" in each and not _ULID.fullmatch(each["id"]):
            return "id", "invalid", "not a ULID"
        return None


def _apply(each: dict[str, Any], person: str, held: HeldByDestination) -> None:
    match each["action"]:
        case "identify":
            given = each.get("attributes", {})
            held.put(None, person, {name: value for name, value in given.items() if value != ""})
            for name in [name for name, value in given.items() if value in ("", None)]:
                held.profiles[person].pop(name, None)
        case "event":
            held.track(each.get("id"), person, each["name"], each.get("attributes", {}))
        case "merge":
            kept, gone = _called(each["primary"]), _called(each["secondary"])
            held.put(None, kept, {**held.profiles.get(gone, {}), **held.profiles.get(kept, {})})
            held.erase(gone)
        case _:
            held.erase(person)


def _called(identifiers: dict[str, Any] | None) -> str:
    return str(next(iter((identifiers or {}).values()), ""))
