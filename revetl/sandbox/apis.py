"""The APIs the sandbox plays: what each takes, its limits and its errors, by docs/destinations/."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson

from revetl.sandbox.rules import Rule
from revetl.sandbox.store import Held


@dataclass(frozen=True)
class Call:
    """A request, read: its ids in order, and what the log tells of it."""

    body: Any
    ids: list[str]
    operation: str
    message_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """A response, and whether the call was applied."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False


class Api(Protocol):
    """One API: reads a request, refusing what the tool would refuse, and applies it."""

    @property
    def name(self) -> str:
        """What `/_/members` calls it."""

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Call | Answer:
        """The call in a request, or the answer that refuses it."""

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        """Hold what the call says, but for the records that a rule rejects."""


_OPERATIONS = frozenset({"add", "update", "remove", "insert", "track"})


def _is_signed(secret: str | None, content: bytes, headers: Mapping[str, str]) -> bool:
    """Whether the signature is the content's; without a secret, any is."""
    if secret is None:
        return True
    signature = "sha256=" + hmac.digest(secret.encode(), content, "sha256").hex()
    return hmac.compare_digest(signature, headers.get("x-revetl-signature", ""))


def _refusing(rejecting: list[Rule], record_id: str) -> str | None:
    return next((rule.reason for rule in rejecting if rule.matches(record_id)), None)


@dataclass(frozen=True)
class WebhookApi:
    """revetl's own webhook contract; checks the signature when it knows a secret."""

    secret: str | None = None
    max_records: int = 10_000
    max_bytes: int = 10_000_000
    name: str = "webhook"

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Call | Answer:
        if not _is_signed(self.secret, raw, headers):
            return Answer(401, {"error": "the signature is wrong"})
        if len(raw) > self.max_bytes:
            return Answer(413, {"error": f"more than {self.max_bytes} bytes"})
        try:
            body = orjson.loads(raw)
            ids = [str(record["id"]) for record in body["records"]]
            call = Call(body, ids, str(body["operation"]), [str(body["batch_id"])])
            if body["operation"] not in _OPERATIONS or not isinstance(body["audience"], str):
                return Answer(400, {"error": "operation or audience is wrong"})
        except (ValueError, KeyError, TypeError) as error:
            return Answer(400, {"error": f"not a batch: {error}"})
        if len(ids) > self.max_records:
            return Answer(413, {"error": f"more than {self.max_records} records"})
        return call

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        rejected = []
        for record, record_id in zip(call.body["records"], call.ids, strict=True):
            if (reason := _refusing(rejecting, record_id)) is not None:
                rejected.append({"id": record["id"], "reason": reason})
            elif call.operation == "track":
                held.track(record["message_id"], record_id, call.body["event"], record["fields"])
            elif call.operation == "remove":
                held.take_out(call.body["audience"], record_id)
            elif call.body.get("create") is False and record_id not in held.profiles:
                rejected.append({"id": record["id"], "reason": "there is no such person"})
            elif call.operation == "insert" and record_id in held.profiles:
                continue
            else:
                empty = call.body.get("set_if_empty", ())
                held.put(call.body["audience"], record_id, record["fields"], empty)
        accepted = len(call.ids) - len(rejected)
        return Answer(200, {"accepted": accepted, "rejected": rejected}, applied=True)


@dataclass(frozen=True)
class WebhookReadApi:
    """The webhook's `read_url`: an audience's members in the order of their ids, a page a request. The cursor
    is the last id of the page before."""

    query: bytes
    secret: str | None = None
    page_members: int = 1_000
    name: str = "webhook"

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Call | Answer:
        if not _is_signed(self.secret, self.query, headers):
            return Answer(401, {"error": "the signature is wrong"})
        asked = dict(parse_qsl(self.query.decode(), keep_blank_values=True))
        if "audience" not in asked:
            return Answer(400, {"error": "audience is missing"})
        return Call(asked, [], "read")

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        after = call.body.get("cursor", "")
        there = sorted(person for person in held.audiences.get(call.body["audience"], {}) if person > after)
        page = there[: self.page_members]
        members = [{"id": person, "fields": held.profiles.get(person, {})} for person in page]
        last = page[-1] if len(there) > len(page) else None
        return Answer(200, {"members": members, "next": last})


@dataclass(frozen=True)
class SegmentApi:
    """Segment's `/v1/batch`: it answers 200 to what it can read, and drops a messageId it has seen."""

    max_bytes: int = 500_000
    max_message_bytes: int = 32_000
    name: str = "segment"

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Call | Answer:
        if not headers.get("authorization", "").startswith("Basic "):
            return Answer(401, {"success": False, "message": "no write key"})
        if len(raw) > self.max_bytes:
            return Answer(400, {"success": False, "message": "Exceed payload limit"})
        try:
            body = orjson.loads(raw)
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


@dataclass(frozen=True)
class BrazeApi:
    """Braze's `/users/track`: attributes, at most 75 objects of a kind."""

    max_objects: int = 75
    name: str = "braze"

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Call | Answer:
        if not headers.get("authorization", "").startswith("Bearer "):
            return Answer(401, {"message": "Invalid API key"})
        try:
            body = orjson.loads(raw)
            kinds = [kind for kind in ("attributes", "events", "purchases") if kind in body]
            ids = [_braze_id(user) for kind in ("attributes", "events") for user in body.get(kind, [])]
        except (ValueError, TypeError, AttributeError):
            return Answer(400, {"message": "Invalid JSON"})
        if not kinds:
            return Answer(400, {"message": "'attributes', 'events' or 'purchases' is required"})
        for kind in kinds:
            if len(body[kind]) > self.max_objects:
                return Answer(400, {"message": f"'{kind}' may have {self.max_objects} objects at the most"})
        return Call(body, ids, ",".join(kinds))

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        errors = []
        for kind in ("attributes", "events"):
            for index, given in enumerate(call.body.get(kind, [])):
                person = _braze_id(given)
                reason = "'external_id', 'user_alias', 'braze_id', 'email' or 'phone' is required"
                refused = _refusing(rejecting, person) if person else reason
                if refused is not None:
                    errors.append({"type": refused, "input_array": kind, "index": index})
                elif kind == "events":
                    held.track(None, person, given["name"], given.get("properties") or {})
                elif not given.get("_update_existing_only") or person in held.profiles:
                    # Braze says nothing of whom it does not know and may not create.
                    named = ("external_id", "_update_existing_only")
                    held.merge(person, {name: value for name, value in given.items() if name not in named})
        body: dict[str, Any] = {"message": "success", "attributes_processed": len(call.ids) - len(errors)}
        if errors:
            body["errors"] = errors
        headers = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "2999", "X-RateLimit-Reset": "0"}
        return Answer(201, body, headers, applied=True)


def _braze_id(user: Mapping[str, Any]) -> str:
    for name in ("external_id", "braze_id", "email", "phone"):
        if user.get(name):
            return str(user[name])
    alias = user.get("user_alias")
    return f"{alias['alias_label']}:{alias['alias_name']}" if alias else ""
