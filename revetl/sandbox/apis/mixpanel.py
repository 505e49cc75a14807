"""Mixpanel's ingestion: docs/destinations/mixpanel.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_INSERT_ID = re.compile("[A-Za-z0-9-]{1,36}")
_OPERATIONS = ("$set", "$set_once", "$unset", "$delete")


@dataclass(frozen=True)
class MixpanelApi:
    """Events, profiles and deletions. Bodies are JSON, or forms with JSON in `data`, as sent by Mixpanel's
    own client."""

    max_records: int = 2_000
    max_bytes: int = 10_000_000
    name: str = "mixpanel"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        match sent.method, sent.parts:
            case "GET", ["api", "app", "me"]:
                return (
                    Call({"status": "ok", "results": {}}, [], "probe") if _account(sent) else _unauthorised()
                )
            case "POST", ["api", "app", "validate-project-credentials"]:
                return Call({"status": "ok"}, [], "probe")
            case "POST", ["api", "app", "data-deletions", "v3.0"]:
                if not sent.bearer or not sent.asked.get("token"):
                    return _unauthorised()
                people = sent.json()["distinct_ids"]
                if len(people) > self.max_records:
                    return ApiResponse(400, {"status": "error", "error": "too many distinct_ids"})
                return Call(None, people, "erase")
            case "POST", ["import" | "engage" as kind]:
                return self._batch(sent, kind)
        return ApiResponse(404, {"status": "error", "error": f"nothing at {sent.path}"})

    def _batch(self, sent: ApiRequest, kind: str) -> Call | ApiResponse:
        if kind == "import" and not _account(sent):
            return _unauthorised()
        is_json = sent.headers.get("content-type", "").startswith("application/json")
        given = sent.json() if is_json else orjson.loads(sent.form()["data"])
        records = given if isinstance(given, list) else [given]
        if len(records) > self.max_records or len(sent.raw) > self.max_bytes:
            said = {"code": 413, "error": "request exceeds max limit", "status": "Request Entity Too Large"}
            return ApiResponse(413, said)
        is_strict = sent.asked.get("strict") == "1"
        if kind == "import":
            about = [record["properties"] for record in records]
            ids = [str(each.get("distinct_id", "")) for each in about]
            return Call((records, is_strict), ids, kind, [str(each.get("$insert_id")) for each in about])
        return Call((records, is_strict), [str(record.get("$distinct_id", "")) for record in records], kind)

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return ApiResponse(200, call.body)
        if call.operation == "erase":
            for person in call.ids:
                held.erase(person)
            return ApiResponse(201, {"status": "ok", "results": {"task_id": "1"}}, applied=True)
        failed = []
        records, is_strict = call.body
        for at, (record, person) in enumerate(zip(records, call.ids, strict=True)):
            wrong = _wrong(record, person, call.operation) or refusing(rejecting, person)
            if wrong is not None:
                failed.append({"index": at, "field": "", "message": wrong})
            elif call.operation == "import":
                own = ("token", "time", "distinct_id", "$insert_id")
                known = record["properties"].items()
                properties = {name: value for name, value in known if name not in own and name[:3] != "mp_"}
                held.track(record["properties"]["$insert_id"], person, record["event"], properties)
            else:
                _update(held, person, record)
        if not is_strict:
            first = failed[0]["message"] if failed else None
            return ApiResponse(200, {"status": 0 if failed else 1, "error": first}, applied=True)
        taken = {"num_records_imported": len(call.ids) - len(failed)}
        if failed:
            error = "some data points in the request failed validation"
            said = {"code": 400, "error": error, "status": "Bad Request", "failed_records": failed}
            return ApiResponse(400, {**said, **taken}, applied=True)
        return ApiResponse(200, {"code": 200, "status": "OK", **taken}, applied=True)


def _update(held: HeldByDestination, person: str, update: dict[str, Any]) -> None:
    if "$delete" in update:
        held.erase(person)
        return
    there = held.profiles.get(person, {})
    once = {name: value for name, value in update.get("$set_once", {}).items() if name not in there}
    held.merge(person, {**once, **update.get("$set", {}), **dict.fromkeys(update.get("$unset", []))})


def _wrong(record: dict[str, Any], person: str, kind: str) -> str | None:
    if not person:
        return "'distinct_id' is missing"
    if kind == "engage":
        known = [name for name in _OPERATIONS if name in record]
        return None if len(known) == 1 and record.get("$token") else "one operation and '$token' are required"
    if not _INSERT_ID.fullmatch(str(record["properties"].get("$insert_id", ""))):
        return "'properties.$insert_id' is invalid"
    return None if record["properties"].get("time") else "'properties.time' is invalid"


def _account(sent: ApiRequest) -> bool:
    return sent.headers.get("authorization", "").startswith("Basic ")


def _unauthorised() -> ApiResponse:
    return ApiResponse(401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"})
