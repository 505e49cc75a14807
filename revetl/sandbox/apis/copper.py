"""Copper's people: docs/destinations/copper.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

SCORE = 100_764
"""The id of a custom number field."""


@dataclass(frozen=True)
class CopperApi:
    """People by email, one per request; tags are audiences."""

    name: str = "copper"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        needed = ("x-pw-accesstoken", "x-pw-application", "x-pw-useremail")
        if not all(sent.headers.get(name) for name in needed):
            return ApiResponse(401, {"success": False, "status": 401, "message": "Invalid API token"})
        match sent.method, sent.parts:
            case "GET", ["account"]:
                return Call(None, [], "probe")
            case "GET", ["custom_field_definitions"]:
                return Call(None, [], "describe")
            case "POST", ["people", "fetch_by_email"]:
                email = sent.json()["email"].lower()
                return Call(email, [], "search") if email in held.profiles else _not_there()
            case "PUT", ["people", "upsert"]:
                body = sent.json()
                if not body["properties"].get("name"):
                    return _bad("name is required")
                return Call(body["properties"], [body["match"]["field_value"].lower()], "upsert")
            case "PUT", ["people", person]:
                emails = {str(each["id"]): email for email, each in held.profiles.items()}
                known = person in emails
                return Call(sent.json(), [emails[person]], "update") if known else _not_there()
            case "DELETE", ["people", person]:
                emails = {str(each["id"]): email for email, each in held.profiles.items()}
                known = person in emails
                return Call({"id": int(person)}, [emails[person]], "delete") if known else _not_there()
            case "POST", ["activities"]:
                return Call(sent.json(), [], "track")
        return _not_there()

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "probe":
                return ApiResponse(200, {"id": 1, "name": "sandbox"})
            case "describe":
                score = {"id": SCORE, "name": "Score", "data_type": "Float", "available_on": ["person"]}
                return ApiResponse(200, [score])
            case "search":
                return ApiResponse(200, held.profiles[call.body])
            case "track":
                person = str(call.body["parent"]["id"])
                held.track(None, person, call.body["details"], call.body)
                return ApiResponse(200, {"id": len(held.events)}, applied=True)
        (email,) = call.ids
        if (reason := refusing(rejecting, email)) is not None:
            return _bad(reason)
        if call.operation == "delete":
            held.erase(email)
            return ApiResponse(200, {**call.body, "is_deleted": True}, applied=True)
        return ApiResponse(200, self._save(call.body, held, email), applied=True)

    @staticmethod
    def _save(body: dict[str, Any], held: HeldByDestination, email: str) -> dict[str, Any]:
        known = held.profiles.get(email, {"id": 1 + len(held.profiles), "tags": []})
        own = {
            f"custom {each['custom_field_definition_id']}": each["value"]
            for each in body.get("custom_fields", [])
        }
        before = known["tags"]
        tags = body.get("tags", before)
        held.put(None, email, {**body, **own, "id": known["id"], "tags": tags})
        for tag in before:
            held.take_out(tag, email)
        for tag in tags:
            held.put(tag, email, {})
        return held.profiles[email]


def _not_there() -> ApiResponse:
    return ApiResponse(404, {"success": False, "status": 404, "message": "Resource not found"})


def _bad(message: str) -> ApiResponse:
    return ApiResponse(422, {"success": False, "status": 422, "message": message})
