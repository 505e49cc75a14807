"""Intercom's API: docs/destinations/intercom.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

ATTRIBUTES = {"score": "integer", "plan": "string", "renewed_at": "date"}
"""Custom attributes of contacts, with their types."""
_HEADERS = {"X-RateLimit-Limit": "1666", "X-RateLimit-Remaining": "1665"}


@dataclass(frozen=True)
class IntercomApi:
    """Contacts by external id, else by email; tags are audiences."""

    name: str = "intercom"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _error(401, "token_unauthorized", "Access Token Invalid")
        ids = {str(each["id"]): person for person, each in held.profiles.items()}
        match sent.method, sent.parts:
            case "GET", ["me"]:
                return Call({"type": "admin", "id": "1"}, [], "tell")
            case "GET", ["data_attributes"]:
                return Call({"type": "list", "data": _attributes()}, [], "tell")
            case "GET", ["tags"]:
                tags = [{"type": "tag", "id": made, "name": name} for made, name in held.lists.items()]
                return Call({"type": "list", "data": tags}, [], "tell")
            case "POST", ["tags"]:
                return Call(sent.json()["name"], [], "create_tag")
            case "POST", ["contacts", "search"]:
                return Call(sent.json()["query"], [], "search")
            case "POST", ["contacts"]:
                body = sent.json()
                person = str(body.get("external_id") or body.get("email") or "")
                if not person:
                    return _error(400, "parameter_invalid", "email or external_id is required")
                if person in held.profiles:
                    known = held.profiles[person]["id"]
                    text = f"A contact matching those details already exists with id={known}"
                    return _error(409, "conflict", text)
                return Call(body, [person], "create")
            case "POST", ["events"]:
                return self._event(sent.json(), held, ids)
            case method, ["contacts", contact, *rest] if contact in ids:
                return self._of_contact(method, rest, sent, held, ids[contact])
        return _error(404, "not_found", "Resource Not Found")

    @staticmethod
    def _of_contact(
        method: str, rest: list[str], sent: ApiRequest, held: HeldByDestination, person: str
    ) -> Call | ApiResponse:
        match method, rest:
            case "GET", []:
                return Call(_shown(held, person), [], "tell")
            case "PUT", []:
                return Call(sent.json(), [person], "update")
            case ("DELETE", []) | ("POST", ["archive"]):
                return Call(None, [person], "erase")
            case "POST", ["tags"] if str(sent.json()["id"]) in held.lists:
                return Call(str(sent.json()["id"]), [person], "tag")
            case "DELETE", ["tags", tag] if person in held.audiences.get(held.lists.get(tag, ""), {}):
                return Call(tag, [person], "untag")
        return _error(404, "tag_not_found", "Tag not found")

    @staticmethod
    def _event(
        body: Mapping[str, Any], held: HeldByDestination, ids: Mapping[str, str]
    ) -> Call | ApiResponse:
        person = ids.get(str(body.get("id")), str(body.get("user_id")))
        if person not in held.profiles:
            return _error(404, "user_not_found", "User Not Found")
        return Call(body, [person], "track")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "tell":
                return ApiResponse(200, call.body, _HEADERS)
            case "create_tag":
                made = held.new_list(call.body)
                return ApiResponse(200, {"type": "tag", "id": made, "name": call.body}, applied=True)
            case "search":
                found = [_shown(held, person) for person in held.profiles if _is(call.body, held, person)]
                return ApiResponse(200, {"type": "list", "data": found, "total_count": len(found)}, _HEADERS)
        (person,) = call.ids
        if call.operation in ("create", "update") and (reason := refusing(rejecting, person)) is not None:
            return _error(400, "parameter_invalid", reason)
        return self._done(call, held, person)

    @staticmethod
    def _done(call: Call, held: HeldByDestination, person: str) -> ApiResponse:
        match call.operation:
            case "create" | "update":
                own = call.body.get("custom_attributes") or {}
                if unknown := [name for name in own if name not in ATTRIBUTES]:
                    text = f"Custom attribute '{unknown[0]}' does not exist"
                    return _error(400, "parameter_invalid", text)
                plain = {name: value for name, value in call.body.items() if name != "custom_attributes"}
                known = held.profiles.get(person, {}).get("id", f"c{1 + len(held.profiles)}")
                held.put(None, person, {**plain, **own, "id": known})
                return ApiResponse(200, _shown(held, person), _HEADERS, applied=True)
            case "tag":
                held.put(held.lists[call.body], person, {})
            case "untag":
                held.take_out(held.lists[call.body], person)
            case "erase":
                known = held.profiles.get(person, {}).get("id")
                held.erase(person)
                return ApiResponse(200, {"id": known, "type": "contact", "deleted": True}, applied=True)
            case "track":
                body = call.body
                held.track(None, person, body["event_name"], body.get("metadata") or {})
                return ApiResponse(202, None, _HEADERS, applied=True)
        return ApiResponse(200, {"id": call.body, "type": "tag", "name": "", "deleted": True}, applied=True)


def _attributes() -> list[dict[str, Any]]:
    about = {"type": "data_attribute", "model": "contact", "custom": True, "api_writable": True}
    return [
        {
            **about,
            "name": name,
            "full_name": f"custom_attributes.{name}",
            "label": name,
            "description": "",
            "data_type": kind,
            "archived": False,
        }
        for name, kind in ATTRIBUTES.items()
    ]


def _shown(held: HeldByDestination, person: str) -> dict[str, Any]:
    """Return a contact as in responses."""
    fields = held.profiles[person]
    own = {name: value for name, value in fields.items() if name in ATTRIBUTES}
    tags = [
        {"type": "tag", "id": made} for made, name in held.lists.items() if person in held.audiences[name]
    ]
    plain = {name: value for name, value in fields.items() if name not in ATTRIBUTES}
    return {"type": "contact", **plain, "custom_attributes": own, "tags": {"type": "list", "data": tags}}


def _is(query: Mapping[str, Any], held: HeldByDestination, person: str) -> bool:
    """Whether a contact matches a query."""
    if query["operator"] in ("OR", "AND"):
        each = [_is(part, held, person) for part in query["value"]]
        return any(each) if query["operator"] == "OR" else all(each)
    return str(held.profiles[person].get(query["field"])) == str(query["value"])


def _error(status: int, code: str, message: str) -> ApiResponse:
    return ApiResponse(status, {"type": "error.list", "errors": [{"code": code, "message": message}]})
