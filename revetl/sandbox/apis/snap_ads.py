"""Snapchat's customer lists: docs/destinations/snap_ads.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_SCHEMAS = (["EMAIL_SHA256"], ["PHONE_SHA256"], ["MOBILE_AD_ID_SHA256"])
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class SnapAdsApi:
    """Segments of an ad account, and their users, identified by a hash. One invalid hash fails the whole
    request. Tokens issued here are valid for `uses` requests; other tokens never expire."""

    max_rows: int = 100_000
    uses: int = 40
    name: str = "snap_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if sent.parts[-1:] == ["access_token"]:
            given = sent.form()
            if given.get("grant_type") != "refresh_token" or not given.get("refresh_token"):
                return ApiResponse(400, {"error": "invalid_grant", "error_description": "no refresh token"})
            return Call(given, [], "token")
        if not self._is_good(sent.bearer, held):
            return _error(401, "E1001", "unauthorized")
        match sent.method, sent.parts[1:]:
            case "GET", ["adaccounts", account]:
                found = {"sub_request_status": "SUCCESS", "adaccount": {"id": account}}
                return Call({"adaccounts": [found]}, [], "probe")
            case "GET", ["adaccounts", _, "segments"]:
                return Call(None, [], "find")
            case "POST", ["adaccounts", _, "segments"]:
                return Call(sent.json()["segments"][0]["name"], [], "create")
            case "GET", ["segments", segment] if segment in held.lists:
                size = len(held.audiences[held.lists[segment]])
                told = {"id": segment, "targetable_status": "READY", "approximate_number_users": size}
                return Call({"segments": [{"sub_request_status": "SUCCESS", "segment": told}]}, [], "probe")
            case (("POST" | "DELETE"), ["segments", segment, "users"]):
                return self._users(sent, segment, held)
        return _error(404, "E1002", f"Unknown path: {sent.path}")

    def _is_good(self, token: str, held: HeldByDestination) -> bool:
        if token in held.jobs:
            held.jobs[token]["uses"] -= 1
            return bool(held.jobs[token]["uses"] >= 0)
        return token != ""

    def _users(self, sent: ApiRequest, segment: str, held: HeldByDestination) -> Call | ApiResponse:
        if segment not in held.lists:
            return _error(404, "E1003", f"Segment {segment} does not exist")
        users = sent.json()["users"][0]
        ids = [row[0] for row in users["data"]]
        if users["schema"] not in _SCHEMAS or len(ids) > self.max_rows:
            return _error(400, "E1004", "one schema and at most 100,000 identifiers are allowed")
        operation = "add" if sent.method == "POST" else "remove"
        return Call({"schema": users["schema"][0], "segment": segment}, ids, operation)

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "token":
            made = held.new_job(uses=self.uses)
            return ApiResponse(200, {"access_token": made, "expires_in": 1_800, "token_type": "Bearer"})
        if call.operation == "probe":
            return _success(call.body)
        if call.operation == "find":
            return _success(
                {
                    "segments": [
                        {"sub_request_status": "SUCCESS", "segment": {"id": made, "name": name}}
                        for made, name in held.lists.items()
                    ]
                }
            )
        if call.operation == "create":
            segment = {"id": held.new_list(call.body), "name": call.body}
            return _success({"segments": [{"sub_request_status": "SUCCESS", "segment": segment}]})
        for person in call.ids:
            reason = refusing(rejecting, person)
            if reason is not None or not _SHA256.fullmatch(person):
                return _error(400, "E1005", reason or "an identifier is not a SHA-256")
        audience = held.lists[call.body["segment"]]
        for person in call.ids:
            if call.operation == "add":
                held.put(audience, person, {call.body["schema"]: person})
            else:
                held.take_out(audience, person)
        user = {"number_uploaded_users": len(call.ids)}
        return _success({"users": [{"sub_request_status": "SUCCESS", "user": user}]})


def _success(body: dict[str, Any]) -> ApiResponse:
    return ApiResponse(200, {"request_status": "SUCCESS", "request_id": "1", **body}, applied=True)


def _error(status: int, code: str, message: str) -> ApiResponse:
    told = {"debug_message": message, "display_message": message, "error_code": code}
    return ApiResponse(status, {"request_status": "ERROR", "request_id": "1", **told})
