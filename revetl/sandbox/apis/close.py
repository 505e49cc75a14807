"""Close's contacts: docs/destinations/close.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

AUDIENCES, SCORE = "cf_audiences", "cf_score"
"""The ids of two contact fields: a multiple-choice field, and a number."""


@dataclass(frozen=True)
class CloseApi:
    """Contacts by email, one per request; the choices of a field are audiences."""

    name: str = "close"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("authorization", "").startswith("Basic "):
            return ApiResponse(401, {"error": "The server could not verify that you are authorized"})
        match sent.method, sent.parts:
            case "GET", ["custom_field_schema", "contact"]:
                return Call(None, [], "describe")
            case "PUT", ["custom_field", "contact", field] if field == AUDIENCES:
                return Call(sent.json()["choices"], [], "create_audience")
            case "POST", ["data", "search"]:
                condition = sent.json()["query"]["queries"][1]["related_query"]["condition"]
                return Call(condition["value"].lower(), [], "search")
            case "GET", ["contact", contact] if contact in _emails(held):
                return Call(_emails(held)[contact], [], "get")
            case "POST", ["contact" | "lead" as kind]:
                body = sent.json() if kind == "contact" else sent.json()["contacts"][0]
                if not body.get("emails"):
                    return _bad("emails", "This field is required.")
                return Call(body, [body["emails"][0]["email"]], "add")
            case "DELETE", ["contact", contact] if contact in _emails(held):
                return Call({}, [_emails(held)[contact]], "delete")
            case "PUT", ["contact", contact] if contact in _emails(held):
                return Call(sent.json(), [_emails(held)[contact]], "update")
            case "POST", ["activity", "note" | "custom"]:
                return Call(sent.json(), [], "track")
        return ApiResponse(404, {"error": "Not found"})

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "describe":
                choices = list(held.lists.values())
                several = {"type": "choices", "accepts_multiple_values": True, "choices": choices}
                fields = [
                    {"id": AUDIENCES, "name": "Audiences", **several},
                    {"id": SCORE, "name": "Score", "type": "number", "accepts_multiple_values": False},
                ]
                return ApiResponse(200, {"fields": fields})
            case "create_audience":
                for name in call.body:
                    if name not in held.lists.values():
                        held.new_list(name)
                return ApiResponse(200, {"id": AUDIENCES, "choices": call.body}, applied=True)
            case "search":
                found = held.profiles.get(call.body)
                contacts = (
                    [{"__object_type": "contact", "id": found["id"], "lead_id": found["lead_id"]}]
                    if found
                    else []
                )
                return ApiResponse(200, {"data": contacts, "cursor": None})
            case "get":
                return ApiResponse(200, held.profiles[call.body])
            case "track":
                held.track(None, call.body["lead_id"], call.body.get("note", ""), call.body)
                return ApiResponse(200, {"id": "acti_1"}, applied=True)
        (email,) = call.ids
        if (reason := refusing(rejecting, email)) is not None:
            return _bad("emails", reason)
        if call.operation == "delete":
            held.erase(email)
            return ApiResponse(200, {}, applied=True)
        return self._save(call.body, held, email)

    @staticmethod
    def _save(body: dict[str, Any], held: HeldByDestination, email: str) -> ApiResponse:
        field = f"custom.{AUDIENCES}"
        joined = [*(body.get(field) or []), body.get(f"{field}.add")]
        choices = held.lists.values()
        if any(name not in choices for name in joined if name is not None):
            return _bad(field, "is not a valid choice")
        number = 1 + len(held.profiles)
        made = held.profiles.get(email, {"id": f"cont_{number}", "lead_id": f"lead_{number}"})
        plain = {name: value for name, value in body.items() if not name.startswith(field)}
        held.put(None, email, {**plain, "id": made["id"], "lead_id": made["lead_id"]})
        for name in joined:
            if name is not None:
                held.put(name, email, {})
        if (left := body.get(f"{field}.remove")) is not None:
            held.take_out(left, email)
        return ApiResponse(200, held.profiles[email], applied=True)


def _emails(held: HeldByDestination) -> dict[str, str]:
    return {person["id"]: email for email, person in held.profiles.items()}


def _bad(field: str, reason: str) -> ApiResponse:
    return ApiResponse(400, {"errors": [], "field-errors": {field: reason}})
