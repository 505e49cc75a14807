"""Heap's server-side API: docs/destinations/heap.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_TOKEN = "sandbox"  # noqa: S105


@dataclass(frozen=True)
class HeapApi:
    """User properties, events and deletions. A request with a bad record is rejected as a whole, without
    naming the record."""

    max_records: int = 1_000
    max_deleted: int = 10_000
    name: str = "heap"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        match sent.method, sent.parts:
            case "POST", ["api", "public", "v0", "auth_token"]:
                if not sent.headers.get("authorization", "").startswith("Basic "):
                    return ApiResponse(401, {"err": "Unauthorized"})
                return Call({"access_token": _TOKEN}, [], "probe")
            case "POST", ["api", "public", "v0", "user_deletion"]:
                if sent.bearer != _TOKEN:
                    return ApiResponse(401, {"err": "Unauthorized"})
                people = [_person(user) for user in sent.json()["users"]]
                if len(people) > self.max_deleted:
                    return ApiResponse(400, {"err": f"more than {self.max_deleted} users"})
                return Call(None, people, "erase")
            case "POST", ["api", "add_user_properties"]:
                return self._batch(sent.json(), "users", "properties")
            case "POST", ["api", "track"]:
                return self._batch(sent.json(), "events", "track")
        return ApiResponse(404, {"error": f"nothing at {sent.path}"})

    def _batch(self, body: dict[str, Any], kind: str, operation: str) -> Call | ApiResponse:
        if not body.get("app_id"):
            return ApiResponse(400, {"error": "app_id is required"})
        records = body.get(kind, [body])
        if len(records) > self.max_records:
            return ApiResponse(400, {"error": f"more than {self.max_records} {kind}"})
        ids = [_person(record) for record in records]
        if not all(0 < len(person) <= 255 for person in ids):
            return ApiResponse(400, {"error": "identity is invalid"})
        return Call(records, ids, operation, [str(record.get("idempotency_key")) for record in records])

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return ApiResponse(200, call.body)
        if call.operation == "erase":
            for person in call.ids:
                held.erase(person)
            said = {"deletion_request_id": held.new_job(), "status": "pending"}
            return ApiResponse(201, said, applied=True)
        for person in call.ids:
            if (reason := refusing(rejecting, person)) is not None:
                return ApiResponse(400, {"error": reason})
        for record, person, key in zip(call.body, call.ids, call.message_ids, strict=True):
            if call.operation == "properties":
                held.merge(person, record["properties"])
            else:
                message = key if "idempotency_key" in record else None
                held.track(message, person, record["event"], record.get("properties", {}))
        return ApiResponse(200, {}, applied=True)


def _person(user: dict[str, Any]) -> str:
    return str(user.get("identity") or user.get("user_id") or "")
