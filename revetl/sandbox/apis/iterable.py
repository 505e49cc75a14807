"""Iterable's API: docs/destinations/iterable.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

FIELDS = {"email": "string", "userId": "string", "firstName": "string", "score": "long"}


@dataclass(frozen=True)
class IterableApi:
    """Users of a project by email or id, static lists and events."""

    max_bytes: int = 4_000_000
    name: str = "iterable"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("api-key"):
            return _error(401, "BadApiKey", "Invalid API key")
        if len(sent.raw) > self.max_bytes:
            return _error(413, "BatchTooLarge", "Request entity too large")
        match sent.method, sent.parts:
            case "GET", ["lists"]:
                return Call(None, [], "lists")
            case "GET", ["users", "getFields"]:
                return Call(None, [], "fields")
            case "POST", ["lists"]:
                return Call(sent.json()["name"], [], "create_list")
            case "POST", ["lists", "subscribe" | "unsubscribe" as verb]:
                body = sent.json()
                if str(body["listId"]) not in held.lists:
                    return _error(400, "BadParams", f"List {body['listId']} does not exist")
                return _about(body, body["subscribers"], verb)
            case "POST", ["users", "bulkUpdate"]:
                return _about(sent.json(), sent.json()["users"], "update")
            case "POST", ["events", "trackBulk"]:
                return _about(sent.json(), sent.json()["events"], "track")
            case "DELETE", ["users", *_, person]:
                return Call(None, [unquote(person)], "erase")
        return _error(404, "NotFound", f"nothing found at {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "lists":
                lists = [
                    {"id": int(made), "name": name, "listType": "Standard", "createdAt": 1}
                    for made, name in held.lists.items()
                ]
                return ApiResponse(200, {"lists": lists})
            case "fields":
                return ApiResponse(200, {"fields": FIELDS})
            case "create_list":
                return ApiResponse(200, {"listId": int(held.new_list(call.body))}, applied=True)
            case "erase":
                if call.ids[0] not in held.profiles:
                    return _error(400, "UnknownEmailError", "No user with that email")
                held.erase(call.ids[0])
                return ApiResponse(200, {"code": "Success", "msg": "", "params": None}, applied=True)
        return _each(call, held, rejecting)


def _each(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    """Apply a call to each person; failures are reported by identifier."""
    listed = held.lists.get(str(call.body.get("listId")))
    people = call.body.get("users") or call.body.get("subscribers") or call.body["events"]
    failures: dict[str, list[str]] = {}
    for given, person in zip(people, call.ids, strict=True):
        ending = "Emails" if "email" in given else "UserIds"
        fields = given.get("dataFields") or {}
        if "email" in given and "@" not in person:
            failures.setdefault(f"invalid{ending}", []).append(person)
        elif refusing(rejecting, person) or not isinstance(fields.get("score", 0), int | float | None):
            failures.setdefault(f"invalidData{ending}", []).append(person)
        elif call.operation == "unsubscribe" and person not in held.profiles:
            failures.setdefault(f"notFound{ending}", []).append(person)
        elif call.operation == "unsubscribe":
            held.take_out(str(listed), person)
        elif call.operation == "track":
            held.track(given["id"], person, given["eventName"], fields)
        else:
            held.put(listed, person, fields)
    count = sum(len(people) for people in failures.values())
    body = {"successCount": len(people) - count, "failCount": count, "failedUpdates": failures}
    return ApiResponse(200, {**body, "createdFields": [], "filteredOutFields": []}, applied=True)


def _about(body: Any, people: list[Mapping[str, Any]], operation: str) -> Call | ApiResponse:
    if any(("email" in person) == ("userId" in person) for person in people):
        return _error(400, "BadParams", "one of email and userId is required")
    return Call(body, [str(person.get("email") or person.get("userId")) for person in people], operation)


def _error(status: int, code: str, message: str) -> ApiResponse:
    return ApiResponse(status, {"code": code, "msg": message, "params": None})
