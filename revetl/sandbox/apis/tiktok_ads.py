"""TikTok's audience segments: docs/destinations/tiktok_ads.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_SCHEMA = frozenset({"EMAIL_SHA256", "PHONE_SHA256", "IDFA_SHA256", "AAID_SHA256"})
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class TikTokAdsApi:
    """Audience segments of an advertiser, and their mappings. A person is identified by their first id; one
    bad row fails the whole request, with status 200."""

    max_rows: int = 10_000
    name: str = "tiktok_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("access-token"):
            return _said(40_104, "Access token is empty")
        match sent.method, sent.parts[2:]:
            case "GET", ["advertiser", "info"]:
                return Call({"list": [{"name": "sandbox"}]}, [], "probe")
            case "GET", ["dmp", "custom_audience", "list"]:
                return Call(None, [], "find")
            case "GET", ["dmp", "custom_audience", "get"]:
                (audience,) = orjson.loads(sent.asked["custom_audience_ids"])
                size = len(held.audiences[held.lists[audience]])
                return Call({"list": [{"audience_details": {"cover_num": size}}]}, [], "probe")
            case "POST", ["segment", "audience"]:
                return Call(sent.json()["custom_audience_name"], [], "create")
            case "POST", ["segment", "mapping"]:
                return self._mapping(sent.json(), held)
        return _said(40_400, f"Unsupported path: {sent.path}")

    def _mapping(self, asked: dict[str, Any], held: HeldByDestination) -> Call | ApiResponse:
        rows, schema = asked["batch_data"], asked["id_schema"]
        if len(rows) > self.max_rows:
            return _said(40_061, f"batch_data: the maximum is {self.max_rows}")
        if not set(schema) <= _SCHEMA or any(len(row) != len(schema) for row in rows):
            return _said(40_002, "id_schema: does not fit batch_data")
        known = [[each for each in row if each] for row in rows]
        audiences = {audience for row in known for each in row for audience in each["audience_ids"]}
        if missing := sorted(audiences - held.lists.keys()):
            return _said(40_002, f"Audience {missing[0]} does not exist")
        ids = [str(next((each["id"] for each in row), "")) for row in known]
        return Call({**asked, "audiences": sorted(audiences)}, ids, asked["action"])

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return _said(0, "OK", call.body)
        if call.operation == "find":
            found = [
                {"audience_id": made, "name": name, "audience_type": "Partner Audience"}
                for made, name in held.lists.items()
            ]
            return _said(0, "OK", {"list": found, "page_info": {"page": 1, "total_page": 1}})
        if call.operation == "create":
            return _said(0, "OK", {"audience_id": held.new_list(call.body)}, applied=True)
        rows, schema = call.body["batch_data"], call.body["id_schema"]
        for at, (row, person) in enumerate(zip(rows, call.ids, strict=True)):
            reason = refusing(rejecting, person)
            if any(each and not _SHA256.fullmatch(each["id"]) for each in row) or not person:
                reason = "not a SHA-256"
            if reason is not None:
                return _said(40_002, f"batch_data.{at}: {reason}")
        for row, person in zip(rows, call.ids, strict=True):
            for audience in map(held.lists.__getitem__, call.body["audiences"]):
                if call.operation == "add":
                    known = {name: each["id"] for name, each in zip(schema, row, strict=True) if each}
                    held.put(audience, person, known)
                else:
                    held.take_out(audience, person)
        return _said(0, "OK", applied=True)


def _said(code: int, message: str, data: Any = None, *, applied: bool = False) -> ApiResponse:
    body = {"code": code, "message": message, "request_id": "1", "data": data or {}}
    return ApiResponse(200, body, applied=applied)
