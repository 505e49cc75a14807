"""Braze's API: docs/destinations/braze.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_OBJECTS = ("attributes", "events", "purchases")
_ERASED = ("external_ids", "braze_ids", "user_aliases", "email_addresses", "phone_numbers")
_GROUPED = ("external_ids", "emails", "phones")
_HEADERS = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "2999", "X-RateLimit-Reset": "0"}


@dataclass(frozen=True)
class BrazeApi:
    """Users of a workspace: at most 75 objects of a kind per request, and 50 users per deletion or
    subscription group request. A user has a single identifier."""

    max_objects: int = 75
    max_users: int = 50
    name: str = "braze"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _bad("Invalid API key", 401)
        if sent.method == "GET":
            return self._states(parse_qs(sent.query))
        try:
            body = sent.json()
            if sent.path == "/users/delete":
                return self._erased(body)
            if sent.path == "/v2/subscription/status/set":
                return self._grouped(body)
            kinds = [kind for kind in _OBJECTS if kind in body]
            ids = [_braze_id(user) for kind in _OBJECTS for user in body.get(kind, [])]
        except (ValueError, TypeError, AttributeError, LookupError):
            return _bad("Invalid JSON")
        if not kinds:
            return _bad("'attributes', 'events' or 'purchases' is required")
        for kind in kinds:
            if len(body[kind]) > self.max_objects:
                return _bad(f"'{kind}' may have at most {self.max_objects} objects")
        return Call(body, ids, ",".join(kinds))

    def _states(self, asked: Mapping[str, list[str]]) -> Call | ApiResponse:
        people = [name for key in ("external_id[]", "email[]", "phone[]") for name in asked.get(key, ())]
        if not people or len(people) > self.max_users or "subscription_group_id" not in asked:
            return _bad(f"a subscription group and up to {self.max_users} users are required")
        return Call(asked["subscription_group_id"][0], people, "states")

    def _erased(self, body: Mapping[str, list[Any]]) -> Call | ApiResponse:
        (kind,) = (name for name in body if name in _ERASED)
        if len(body[kind]) > self.max_users:
            return _bad("The max number of ids per request was exceeded")
        if kind == "email_addresses" and not all(each["prioritization"] for each in body[kind]):
            return _bad("'prioritization' is required")
        ids = [_braze_id(each) if isinstance(each, dict) else str(each) for each in body[kind]]
        return Call(body, ids, "erase")

    def _grouped(self, body: Mapping[str, Any]) -> Call | ApiResponse:
        (group,) = body["subscription_groups"]
        people = [str(name) for kind in _GROUPED for name in group.get(kind, ())]
        if not people or len(people) > self.max_users:
            return _bad(f"between 1 and {self.max_users} users are required")
        return Call(group, people, "group")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "states":
                return ApiResponse(200, {"status": _states(call, held), "message": "success"}, _HEADERS)
            case "erase":
                there = sum(person in held.profiles for person in call.ids)
                for person in call.ids:
                    held.erase(person)
                return ApiResponse(201, {"deleted": there, "message": "success"}, _HEADERS, applied=True)
            case "group":
                group, joins = call.body["subscription_group_id"], call.body["subscription_state"]
                for person in call.ids:
                    if joins == "subscribed":
                        held.unsubscribed[group].discard(person)
                        held.put(group, person, {})
                    else:
                        held.unsubscribed[group].add(person)
                        held.take_out(group, person)
                return ApiResponse(201, {"message": "success"}, _HEADERS, applied=True)
        return _tracked(call, held, rejecting)


def _tracked(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    errors = []
    for kind in _OBJECTS:
        for index, given in enumerate(call.body.get(kind, [])):
            person = _braze_id(given)
            reason = "'external_id', 'user_alias', 'braze_id', 'email' or 'phone' is required"
            refused = refusing(rejecting, person) if person else reason
            if refused is not None:
                errors.append({"type": refused, "input_array": kind, "index": index})
            elif kind != "attributes":
                event = given["name"] if kind == "events" else given["product_id"]
                held.track(None, person, event, given.get("properties") or {})
            elif person in held.profiles or not _only_existing(given):
                # Braze silently ignores unknown users that it may not create.
                named = ("external_id", "user_alias", "_update_existing_only")
                held.merge(person, {name: value for name, value in given.items() if name not in named})
    body: dict[str, Any] = {"message": "success", "attributes_processed": len(call.ids) - len(errors)}
    if errors:
        body["errors"] = errors
    return ApiResponse(201, body, _HEADERS, applied=True)


def _states(call: Call, held: HeldByDestination) -> dict[str, str]:
    left, joined = held.unsubscribed[call.body], held.audiences[call.body]
    return {
        person: "Unsubscribed" if person in left else "Subscribed" if person in joined else "Unknown"
        for person in call.ids
    }


def _only_existing(user: Mapping[str, Any]) -> bool:
    """Whether only existing users are updated, the default for an alias alone."""
    known = any(user.get(name) for name in ("external_id", "braze_id", "email", "phone"))
    return bool(user.get("_update_existing_only", not known))


def _braze_id(user: Mapping[str, Any]) -> str:
    for name in ("external_id", "braze_id", "email", "phone"):
        if user.get(name):
            return str(user[name])
    alias = user.get("user_alias", user if "alias_name" in user else None)
    return f"{alias['alias_label']}:{alias['alias_name']}" if alias else ""


def _bad(message: str, status: int = 400) -> ApiResponse:
    return ApiResponse(status, {"message": message})
