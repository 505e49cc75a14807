"""Segment's tracking API: docs/destinations/segment.md."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from revetl.sandbox.apis.base import Answer, Call, Sent
from revetl.sandbox.rules import Rule
from revetl.sandbox.store import Held


@dataclass(frozen=True)
class SegmentApi:
    """Segment's `/v1/batch`: it answers 200 to what it can read, and drops a messageId it has seen."""

    max_bytes: int = 500_000
    max_message_bytes: int = 32_000
    name: str = "segment"

    def read(self, sent: Sent, held: Held) -> Call | Answer:
        if not sent.headers.get("authorization", "").startswith("Basic "):
            return Answer(401, {"success": False, "message": "no write key"})
        if len(sent.raw) > self.max_bytes:
            return Answer(400, {"success": False, "message": "Exceed payload limit"})
        try:
            body = sent.json()
            batch = body["batch"]
            ids = [str(message.get("userId") or message["anonymousId"]) for message in batch]
            kinds = {str(message["type"]) for message in batch}
        except (ValueError, KeyError, TypeError, AttributeError):
            return Answer(400, {"success": False, "message": "Malformed JSON"})
        if any(len(orjson.dumps(message)) > self.max_message_bytes for message in batch):
            return Answer(400, {"success": False, "message": "Exceed payload limit"})
        return Call(body, ids, ",".join(sorted(kinds)), [str(m.get("messageId")) for m in batch])

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        # Segment refuses no single message of a batch, so a rule that rejects has nothing to say here.
        for message, person, message_id in zip(call.body["batch"], call.ids, call.message_ids, strict=True):
            if message_id in held.seen_messages:
                continue
            held.seen_messages.add(message_id)
            if message["type"] == "identify":
                held.merge(person, message.get("traits") or {})
            elif message["type"] == "track":
                held.track(message_id, person, message["event"], message.get("properties") or {})
        return Answer(200, {"success": True}, applied=True)
