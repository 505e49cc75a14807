"""Segment's tracking API and its Public API's regulations, and RudderStack: docs/destinations/segment.md."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_NEEDED = {"identify": (), "track": ("event",), "page": (), "screen": (), "group": ("groupId",)}
"""Required keys of a message by type, besides the person."""


@dataclass(frozen=True)
class SegmentApi:
    """Segment's `/v1/batch`: it returns 200 for anything it can parse, and drops known messageIds. Messages
    with a channel are RudderStack's, which accepts larger batches."""

    max_bytes: int = 500_000
    max_rudderstack_bytes: int = 4_000_000
    max_messages: int = 2_500
    max_message_bytes: int = 32_000
    max_subjects: int = 5_000
    name: str = "segment"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if sent.path == "/regulations":
            return self._regulation(sent)
        if not sent.headers.get("authorization", "").startswith("Basic "):
            return ApiResponse(401, {"success": False, "message": "no write key"})
        try:
            raw = gzip.decompress(sent.raw) if _is_gzip(sent.headers) else sent.raw
            body = orjson.loads(raw)
            batch = body["batch"]
            ids = [_whom(message) for message in batch]
            kinds = {str(message["type"]) for message in batch}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ApiResponse(400, {"success": False, "message": "Malformed JSON"})
        is_rudderstack = any("channel" in message for message in batch)
        if len(raw) > (self.max_rudderstack_bytes if is_rudderstack else self.max_bytes):
            return ApiResponse(400, {"success": False, "message": "Exceed payload limit"})
        if any(len(orjson.dumps(message)) > self.max_message_bytes for message in batch):
            return ApiResponse(400, {"success": False, "message": "Exceed payload limit"})
        return Call(body, ids, ",".join(sorted(kinds)), [str(m.get("messageId")) for m in batch])

    def _regulation(self, sent: ApiRequest) -> Call | ApiResponse:
        if not sent.bearer:
            return ApiResponse(401, {"errors": [{"type": "unauthorized", "message": "no token"}]})
        asked = sent.json()
        ids = [str(each) for each in asked["subjectIds"]]
        if asked["subjectType"] != "USER_ID" or not 0 < len(ids) <= self.max_subjects:
            wrong = {"type": "bad-request", "message": f"1 to {self.max_subjects} USER_IDs are allowed"}
            return ApiResponse(400, {"errors": [wrong]})
        return Call(asked, ids, "regulation")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "regulation":
            for person in call.ids:
                held.erase(person)
            return ApiResponse(200, {"data": {"regulateId": held.new_job()}}, applied=True)
        # Segment never rejects single messages of a batch, so rules that reject have no effect here. Messages
        # beyond the maximum are dropped.
        taken = list(zip(call.body["batch"], call.ids, call.message_ids, strict=True))[: self.max_messages]
        for message, person, message_id in taken:
            if message_id in held.seen_messages:
                continue
            held.seen_messages.add(message_id)
            _apply(message, person, message_id, held)
        return ApiResponse(200, {"success": True}, applied=True)


def _is_gzip(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "") == "gzip"


def _whom(message: Mapping[str, Any]) -> str:
    return str(message.get("userId") or message["anonymousId"])


def _apply(message: Mapping[str, Any], person: str, message_id: str, held: HeldByDestination) -> None:
    """Store a message's data; incomplete messages are accepted without effect."""
    kind = message["type"]
    if kind == "alias":
        _make_one(str(message.get("previousId", person)), person, held)
        return
    if kind not in _NEEDED or any(not message.get(name) for name in _NEEDED[kind]):
        return
    traits = message.get("traits") or (message.get("context") or {}).get("traits") or {}
    if kind == "identify":
        held.merge(person, traits)
    elif kind == "group":
        held.merge(person, {"groupId": message["groupId"]})
        held.merge(str(message["groupId"]), traits)
    else:
        name = message["event"] if kind == "track" else f"{kind}: {message.get('name') or ''}"
        held.track(message_id, person, name, message.get("properties") or {})


def _make_one(before: str, person: str, held: HeldByDestination) -> None:
    """Merge `before` into `person`, whose own traits take precedence."""
    if before == person or before not in held.profiles:
        return
    traits = {**held.profiles.pop(before), **held.profiles.get(person, {})}
    held.erase(before)
    held.merge(person, traits)
