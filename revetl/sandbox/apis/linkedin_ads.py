"""LinkedIn's DMP segments: docs/destinations/linkedin_ads.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class LinkedinAdsApi:
    """Segments of an account, and the elements streamed to them. A new segment isn't found on the first
    request. People are identified by their first id, companies by their first value."""

    max_elements: int = 5_000
    name: str = "linkedin_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _error(401, "Empty oauth2 access token")
        if "linkedin-version" not in sent.headers:
            return _error(400, "A version must be present")
        match sent.method, sent.parts[1:]:
            case "GET", ["adAccounts", account]:
                return Call({"id": account, "status": "ACTIVE"}, [], "probe")
            case "GET", ["dmpSegments"]:
                return Call(int(sent.asked.get("start", 0)), [], "find")
            case "GET", ["dmpSegments", segment, "destinations", "LINKEDIN"] if segment in held.lists:
                size = len(held.audiences[held.lists[segment]])
                return Call({"status": "READY", "audienceSize": size}, [], "probe")
            case "POST", ["dmpSegments"]:
                return Call(sent.json()["name"], [], "create")
            case "POST", ["dmpSegments", segment, "users" | "companies"]:
                return self._elements(sent, held, segment)
        return _error(404, f"No virtual resource found for {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "probe":
                return ApiResponse(200, call.body)
            case "find":
                found = [
                    {"id": made, "name": name, "type": "USER", "destinations": [{"status": "READY"}]}
                    for made, name in held.lists.items()
                ]
                return ApiResponse(200, {"elements": found[call.body : call.body + 100]})
            case "create":
                made = held.new_list(call.body)
                held.jobs[made] = {"found": False}
                return ApiResponse(201, {}, {"x-restli-id": made}, applied=True)
        segment, elements = call.body
        if not held.jobs[segment]["found"]:
            held.jobs[segment]["found"] = True
            return _error(404, f"Could not find DMP segment with ID {segment}")
        answers = [
            _applied(held, held.lists[segment], element, person, rejecting)
            for element, person in zip(elements, call.ids, strict=True)
        ]
        return ApiResponse(200, {"elements": answers}, applied=True)

    def _elements(self, sent: ApiRequest, held: HeldByDestination, segment: str) -> Call | ApiResponse:
        if segment not in held.lists:
            return _error(404, f"Could not find DMP segment with ID {segment}")
        if sent.headers.get("x-restli-method", "").upper() != "BATCH_CREATE":
            return _error(400, "X-RestLi-Method is not BATCH_CREATE")
        elements = sent.json()["elements"]
        if len(elements) > self.max_elements:
            return _error(400, f"more than {self.max_elements} elements")
        actions = ",".join(sorted({str(each["action"]) for each in elements}))
        return Call((segment, elements), [_person(each) for each in elements], actions)


def _person(element: dict[str, Any]) -> str:
    if ids := element.get("userIds"):
        return str(ids[0]["idValue"])
    return str(next((value for name, value in element.items() if name != "action"), ""))


def _applied(
    held: HeldByDestination,
    audience: str,
    element: dict[str, Any],
    person: str,
    rejecting: list[MisbehaviorRule],
) -> dict[str, Any]:
    """Return the result of an element."""
    reason = refusing(rejecting, person)
    for each in element.get("userIds", []):
        if each["idType"] == "SHA256_EMAIL" and not _SHA256.fullmatch(each["idValue"]):
            reason = "idValue is not a SHA-256"
    if reason is not None:
        return {"status": 400, "error": {"status": 400, "message": reason}}
    if element["action"] == "ADD":
        held.put(audience, person, {name: value for name, value in element.items() if name != "action"})
    else:
        held.take_out(audience, person)
    return {"status": 201}


def _error(status: int, message: str) -> ApiResponse:
    return ApiResponse(status, {"status": status, "code": "SANDBOX", "message": message})
