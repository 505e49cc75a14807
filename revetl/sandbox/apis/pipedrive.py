"""Pipedrive's persons: docs/destinations/pipedrive.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

AUDIENCES, SCORE = "a" * 40, "5" * 40
"""The codes of two custom fields: a multiple-option field, and a number."""


@dataclass(frozen=True)
class PipedriveApi:
    """Persons by email, one per request; the options of a field are audiences."""

    name: str = "pipedrive"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not (sent.headers.get("x-api-token") or sent.bearer):
            return ApiResponse(401, {"success": False, "error": "unauthorized access"})
        match sent.method, sent.parts[2:]:
            case "GET", ["personFields"]:
                return Call(None, [], "describe")
            case "POST", ["personFields", code, "options"] if code == AUDIENCES:
                return Call(sent.json()[0]["label"], [], "create_audience")
            case "GET", ["persons", "search"]:
                return Call(sent.asked["term"].lower(), [], "search")
            case "GET", ["persons", person] if person in _emails(held):
                return Call(_emails(held)[person], [], "get")
            case "POST", ["persons"]:
                body = sent.json()
                if not body.get("name") or not body.get("emails"):
                    return _bad("name: Required")
                return Call(body, [body["emails"][0]["value"]], "add")
            case "DELETE", ["persons", person] if person in _emails(held):
                return Call({"id": int(person)}, [_emails(held)[person]], "delete")
            case "PATCH", ["persons", person] if person in _emails(held):
                return Call(sent.json(), [_emails(held)[person]], "update")
            case "POST", ["activities"]:
                body = sent.json()
                person = str(body["participants"][0]["person_id"])
                return Call(body, [_emails(held).get(person, "")], "track")
        return ApiResponse(404, {"success": False, "error": "Person not found"})

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "describe":
                options = [{"id": int(made), "label": name} for made, name in held.lists.items()]
                return _data(
                    [
                        _field("label_ids", "Labels", "set", []),
                        _field(AUDIENCES, "Audiences", "set", options),
                        _field(SCORE, "Score", "double", None),
                    ]
                )
            case "create_audience":
                return _data([{"id": int(held.new_list(call.body)), "label": call.body}], applied=True)
            case "search":
                found = held.profiles.get(call.body)
                items = [{"item": {"id": found["id"], "type": "person"}}] if found else []
                return _data({"items": items})
            case "get":
                return _data(_shown(held.profiles[call.body]))
            case "track":
                held.track(None, call.ids[0], call.body["subject"], {"note": call.body.get("note")})
                return _data({"id": len(held.events)}, applied=True)
        (email,) = call.ids
        if (reason := refusing(rejecting, email)) is not None:
            return _bad(reason)
        if call.operation == "delete":
            held.erase(email)
            return _data(call.body, applied=True)
        self._save(call, held, email)
        return _data(_shown(held.profiles[email]), applied=True)

    @staticmethod
    def _save(call: Call, held: HeldByDestination, email: str) -> None:
        own = call.body.get("custom_fields", {})
        top = {name: value for name, value in call.body.items() if name != "custom_fields"}
        made = held.profiles.get(email, {}).get("id", 1 + len(held.profiles))
        held.put(None, email, {**top, **own, "id": made})
        if AUDIENCES in own:
            for option, name in held.lists.items():
                if int(option) in (own[AUDIENCES] or []):
                    held.put(name, email, {})
                else:
                    held.take_out(name, email)


def _emails(held: HeldByDestination) -> dict[str, str]:
    return {str(person["id"]): email for email, person in held.profiles.items()}


def _shown(person: dict[str, Any]) -> dict[str, Any]:
    own = {code: person.get(code) for code in (AUDIENCES, SCORE)}
    return {**{name: value for name, value in person.items() if name not in own}, "custom_fields": own}


def _field(code: str, name: str, kind: str, options: list[Any] | None) -> dict[str, Any]:
    own = code != "label_ids"
    return {
        "field_code": code,
        "field_name": name,
        "field_type": kind,
        "is_custom_field": own,
        "options": options,
    }


def _data(data: Any, *, applied: bool = False) -> ApiResponse:
    return ApiResponse(
        200, {"success": True, "data": data, "additional_data": {"next_cursor": None}}, applied=applied
    )


def _bad(error: str) -> ApiResponse:
    return ApiResponse(400, {"success": False, "error": error, "code": "ERR_SCHEMA_VALIDATION_FAILED"})
