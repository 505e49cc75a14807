"""Amplitude's events, user properties, cohorts and deletions: docs/destinations/amplitude.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

SEED = "seed-user"
"""A user that always exists, so that a cohort can be created."""


@dataclass(frozen=True)
class AmplitudeApi:
    """A project. As in the real API, a bad event or user fails its request, and only the first bad event is
    named; cohorts only accept existing users, and need one on creation."""

    max_events: int = 2_000
    max_ids: int = 100_000
    name: str = "amplitude"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        match sent.method, sent.parts:
            case "POST", ["identify"]:
                form = sent.form()
                if not form.get("api_key"):
                    return ApiResponse(400, "invalid_api_key")
                users = orjson.loads(form["identification"])
                users = users if isinstance(users, list) else [users]
                return Call(users, [_person(user) for user in users], "identify")
            case "POST", (["batch"] | ["2", "httpapi"]):
                return self._events(sent)
            case method, ["api", _, *rest] if sent.headers.get("authorization", "").startswith("Basic "):
                return self._application(method, rest, sent, held)
        return ApiResponse(401, {"error": {"message": "Unauthorized", "code": 401}})

    def _events(self, sent: ApiRequest) -> Call | ApiResponse:
        body = sent.json()
        if not body.get("api_key"):
            return ApiResponse(
                400, {"code": 400, "error": "Request missing required field", "missing_field": "api_key"}
            )
        events = body["events"]
        most = 20_000_000 if sent.parts == ["batch"] else 1_000_000
        if len(events) > self.max_events or len(sent.raw) > most:
            return ApiResponse(413, {"code": 413, "error": "Payload too large"})
        shortest = (body.get("options") or {}).get("min_id_length", 5)
        for at, event in enumerate(events):
            wrong = {}
            if not event.get("event_type"):
                wrong = {"events_with_missing_fields": {"event_type": [at]}}
            elif all(len(str(event.get(name) or "")) < shortest for name in ("user_id", "device_id")):
                wrong = {"events_with_invalid_id_lengths": {"user_id": [at]}}
            if wrong:
                return ApiResponse(
                    400, {"code": 400, "error": "Invalid field values on some events", **wrong}
                )
        ids = [_person(event) for event in events]
        return Call(events, ids, "track", [str(event.get("insert_id")) for event in events])

    def _application(
        self, method: str, rest: list[str], sent: ApiRequest, held: HeldByDestination
    ) -> Call | ApiResponse:
        match method, rest:
            case "GET", ["cohorts"]:
                return Call(None, [], "find")
            case "GET", ["usersearch"]:
                return Call(None, [], "search")
            case "POST", ["cohorts", "upload"]:
                body = sent.json()
                if not body["ids"] or not body.get("app_id") or not body.get("owner"):
                    return _refused("ids, app_id and owner are required")
                return Call(body, [], "create")
            case "POST", ["cohorts", "membership"]:
                body = sent.json()
                (change,) = body["memberships"]
                if body["cohort_id"] not in held.lists or len(change["ids"]) > self.max_ids:
                    return _refused("no such cohort, or too many ids")
                return Call(body, change["ids"], change["operation"].lower())
            case "POST", ["deletions", "users"]:
                people = sent.json()["user_ids"]
                return Call(people, people, "erase") if len(people) <= 100 else _refused("more than 100")
        return ApiResponse(404, {"error": {"message": f"nothing at {sent.path}", "code": 404}})

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "find":
                there = [{"id": made, "name": name, "archived": False} for made, name in held.lists.items()]
                return ApiResponse(200, {"cohorts": there})
            case "search":
                return ApiResponse(200, {"matches": [{"user_id": SEED, "amplitude_id": 1}]})
            case "create":
                made = held.new_list(call.body["name"])
                return ApiResponse(200, {"cohortId": made}, applied=True)
            case "erase":
                for person in call.ids:
                    held.erase(person)
                return ApiResponse(200, [{"day": "2026-01-20", "status": "staging"}], applied=True)
            case "add" | "remove":
                return self._membership(call, held, rejecting)
        for at, person in enumerate(call.ids):
            if (reason := refusing(rejecting, person)) is not None:
                if call.operation == "identify":
                    return ApiResponse(400, f"{person}: {reason}")
                wrong = {"events_with_invalid_fields": {"user_id": [at]}}
                return ApiResponse(400, {"code": 400, "error": reason, **wrong})
        for given, person in zip(call.body, call.ids, strict=True):
            if given.get("event_type", "$identify") == "$identify":
                _identify(held, person, given.get("user_properties") or {})
            else:
                properties = given.get("event_properties") or {}
                held.track(given.get("insert_id"), person, given["event_type"], properties)
        if call.operation == "identify":
            return ApiResponse(200, "success", applied=True)
        return ApiResponse(200, {"code": 200, "events_ingested": len(call.ids)}, applied=True)

    @staticmethod
    def _membership(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        name, skipped = held.lists[call.body["cohort_id"]], []
        for person in call.ids:
            if person not in held.profiles or refusing(rejecting, person):
                skipped.append(person)
            elif call.operation == "add":
                held.put(name, person, {})
            else:
                held.take_out(name, person)
        result = {"skipped_ids": skipped, "operation": call.operation.upper()}
        about = {"cohort_id": call.body["cohort_id"], "memberships_result": [result]}
        return ApiResponse(200, about, applied=True)


def _identify(held: HeldByDestination, person: str, properties: dict[str, Any]) -> None:
    """Store user properties: by operation, or as plain values."""
    there = held.profiles.setdefault(person, {})
    known = {"$set", "$setOnce", "$unset"}
    changes = properties if known & properties.keys() else {"$set": properties}
    once = {name: value for name, value in changes.get("$setOnce", {}).items() if name not in there}
    there |= {**once, **changes.get("$set", {})}
    for name in changes.get("$unset", {}):
        there.pop(name, None)


def _person(given: dict[str, Any]) -> str:
    return str(given.get("user_id") or given.get("device_id") or "")


def _refused(message: str) -> ApiResponse:
    return ApiResponse(400, {"error": {"message": message, "code": 400}})
