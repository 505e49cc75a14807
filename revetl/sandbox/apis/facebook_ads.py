"""Meta's Custom Audiences: docs/destinations/facebook_ads.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_PLAIN = frozenset({"EXTERN_ID", "MADID", "APPUID", "PAGEUID"})
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class FacebookAdsApi:
    """Audiences of an account, and their users, identified by their first key. Values that should be hashed
    but aren't are invalid."""

    max_rows: int = 10_000
    name: str = "facebook_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return graph_error(401, 190, "Invalid OAuth access token")
        match sent.method, sent.parts[1:]:
            case "GET", [account] if account.startswith("act_"):
                return Call({"id": account, "name": "sandbox", "account_status": 1}, [], "probe")
            case "GET", [audience] if audience in held.lists:
                return Call(audience, [], "describe" if sent.asked["fields"] == "description" else "count")
            case "POST", [audience] if audience in held.lists:
                held.descriptions[audience] = sent.json()["description"]
                return Call({"success": True}, [], "probe")
            case "GET", [_, "customaudiences"]:
                return Call(None, [], "find")
            case "POST", [_, "customaudiences"]:
                return Call(sent.json()["name"], [], "create")
            case (("POST" | "DELETE"), [audience, "users"]):
                if audience not in held.lists:
                    return graph_error(400, 100, "Object does not exist", error_subcode=33)
                payload = sent.json()["payload"]
                if len(payload["data"]) > self.max_rows:
                    return graph_error(400, 100, f"more than {self.max_rows} users")
                ids = [str(next((value for value in row if value), "")) for row in payload["data"]]
                operation = "add" if sent.method == "POST" else "remove"
                return Call({**payload, "audience": audience}, ids, operation)
        return graph_error(400, 2500, f"Unknown path components: {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return ApiResponse(200, call.body)
        if call.operation == "describe":
            text = held.descriptions.get(call.body)
            return ApiResponse(200, {"id": call.body, **({"description": text} if text else {})})
        if call.operation == "count":
            # People without an email are never matched.
            people = held.audiences[held.lists[call.body]]
            count = sum("EMAIL" in held.profiles[person] for person in people)
            names = ("approximate_count_lower_bound", "approximate_count_upper_bound")
            return ApiResponse(200, dict.fromkeys(names, count if count >= 100 else -1))
        if call.operation == "find":
            return ApiResponse(
                200, {"data": [{"id": made, "name": name} for made, name in held.lists.items()]}
            )
        if call.operation == "create":
            return ApiResponse(200, {"id": held.new_list(call.body)}, applied=True)
        audience = held.lists[call.body["audience"]]
        invalid = []
        for row, person in zip(call.body["data"], call.ids, strict=True):
            known = {key: value for key, value in zip(call.body["schema"], row, strict=True) if value}
            unhashed = [key for key in known if key not in _PLAIN and not _SHA256.fullmatch(known[key])]
            if unhashed or refusing(rejecting, person):
                invalid.append(row)
            elif call.operation == "add":
                held.put(audience, person, known)
            else:
                held.take_out(audience, person)
        body = {
            "audience_id": call.body["audience"],
            "session_id": "1",
            "num_received": len(call.ids),
            "num_invalid_entries": len(invalid),
            "invalid_entry_samples": {str(at): str(row) for at, row in enumerate(invalid)},
        }
        return ApiResponse(200, body, applied=True)


def graph_error(status: int, code: int, message: str, **more: Any) -> ApiResponse:
    """Return an error in the Graph API's format."""
    return ApiResponse(
        status, {"error": {"message": message, "type": "OAuthException", "code": code, **more}}
    )
