"""Turn a request's body into messages to store, each accepted or rejected by itself.

`invalid_reason` says in Python what `revetl.ingest.rules.reason` says in SQL, so that the client learns of a
message that loading would reject.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from revetl.config.collector import CollectorConfig, IpPolicy
from revetl.governance.pii import COLUMNS, Hider
from revetl.ingest import rules
from revetl.ingest.collector.addresses import stored_address
from revetl.ingest.collector.clocks import iso, message_times, parse_time
from revetl.ingest.raw_tables import MESSAGE_TABLES

KEPT_FIELDS = frozenset((*rules.FIELDS, "integrations", "channel"))
"""Fields of a message that are stored. Write keys and the clients' own metadata are not."""
_SHOWN = 40
_TYPES = ", ".join(MESSAGE_TABLES)


@dataclass(frozen=True)
class Reception:
    """How messages were received: by which source and when, the client's address and user agent, and the
    anonymous id that a header or the id cookie names."""

    source: str
    received_at: datetime
    address: str | None = None
    user_agent: str | None = None
    anonymous_id: str | None = None
    cookie_id: str | None = None
    ip_policy: IpPolicy = "keep"
    is_import: bool = False
    is_direct: bool = False


@dataclass(frozen=True)
class RejectedMessage:
    """A rejected message: its index in the batch, its id if it has one, the reason, and its text, which may
    not be stored where PII rules exist."""

    index: int
    message_id: str | None
    reason: str
    text: str | None = None


@dataclass
class ReceivedMessages:
    """The messages of one request: accepted ones as dictionaries and as lines of JSON, in the same order,
    rejected ones, and counts of what was noticed."""

    accepted: list[dict[str, Any]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    rejected: list[RejectedMessage] = field(default_factory=list)
    noticed: Counter[str] = field(default_factory=Counter)


class NoMessages(Exception):
    """A body is JSON, but can't contain messages. The message says why."""


def messages_of(body: Any, message_type: str | None) -> list[Any]:
    """Return the messages in a body: those of its batch, with the batch's `context`, `integrations`, `sentAt`
    and `channel` merged in, or the body itself. `message_type` is the type that the path names. Raises
    NoMessages."""
    if isinstance(body, list):
        return [_typed(each, message_type) for each in body]
    if not isinstance(body, dict):
        raise NoMessages("the body is not a JSON object")
    batch = body.get("batch")
    if message_type is not None and not isinstance(batch, list):
        return [_typed(body, message_type)]
    if not isinstance(batch, list):
        if "type" in body and batch is None:
            return [body]
        raise NoMessages("batch is not a list")
    shared = {name: body[name] for name in ("context", "integrations") if isinstance(body.get(name), dict)}
    common = {name: body[name] for name in ("sentAt", "channel") if name in body}
    return [_merged(each, shared, common) for each in batch]


def _typed(message: Any, message_type: str | None) -> Any:
    if message_type is None or not isinstance(message, dict):
        return message
    return {**message, "type": message_type}


def _merged(message: Any, shared: Mapping[str, dict[str, Any]], common: Mapping[str, Any]) -> Any:
    """Merge the batch's fields into a message; its own values win."""
    if not isinstance(message, dict) or not (shared or common):
        return message
    made = {**common, **message}
    for name, value in shared.items():
        own = made.get(name)
        if isinstance(own, dict):
            made[name] = {**value, **own}
        elif own is None:
            made[name] = value
    return made


class MessagePreparer:
    """Validates messages and completes them as they are stored: times, address, ids; PII rules applied."""

    def __init__(self, config: CollectorConfig, hider: Hider | None = None) -> None:
        self._largest = config.max_event_kb * 1024
        self._deepest = config.max_depth
        self._most_properties = config.max_properties
        self._hider = hider
        self._places = [name for name in rules.OBJECT_FIELDS if hider is not None and hider.is_of(name)]
        self._columns = {
            name: rule.action
            for name in COLUMNS
            if hider is not None and (rule := hider.column_rule(name)) is not None
        }

    def prepare(self, messages: list[Any], reception: Reception) -> ReceivedMessages:
        """Prepare the messages of one request."""
        made = ReceivedMessages()
        for index, message in enumerate(messages):
            try:
                prepared = self._prepared(message, reception, made.noticed)
                line = orjson.dumps(prepared)
                self._check_size(message, line)
            except _Rejected as rejection:
                made.rejected.append(self._rejection(index, message, str(rejection)))
            except (orjson.JSONEncodeError, RecursionError):
                made.rejected.append(self._rejection(index, message, "the message cannot be stored as JSON"))
            else:
                made.accepted.append(prepared)
                made.lines.append(line)
        return made

    def _prepared(self, message: Any, reception: Reception, noticed: Counter[str]) -> dict[str, Any]:
        if not isinstance(message, dict):
            raise _Rejected("the message is not a JSON object")
        made = {name: value for name, value in message.items() if name in KEPT_FIELDS}
        if made.get("userId") in (None, "") and made.get("anonymousId") in (None, ""):
            fallback = reception.anonymous_id or reception.cookie_id
            if fallback is not None:
                made["anonymousId"] = fallback
        for name in ("sentAt", "receivedAt"):
            # Neither is the event's own. One that can't be read must not cost the event.
            if name in made and parse_time(made[name]) is None:
                del made[name]
                noticed[f"unreadable_{name}"] += 1
        if (reason := invalid_reason(made)) is not None:
            raise _Rejected(reason)
        self._complete(made, reception, noticed)
        if self._hider is not None:
            self._hide(made, self._hider)
        return made

    def _complete(self, made: dict[str, Any], reception: Reception, noticed: Counter[str]) -> None:
        if _text(made.get("messageId")) is None:
            made["messageId"] = str(uuid.uuid4())
        times = message_times(
            made, parse_time(made.get("sentAt")), reception.received_at, is_import=reception.is_import
        )
        made["timestamp"] = times.timestamp
        if times.original is not None:
            made["originalTimestamp"] = times.original
        made["receivedAt"] = iso(reception.received_at)
        context = made.get("context")
        context = dict(context) if isinstance(context, dict) else {}
        if reception.is_direct or context.get("direct") is True:
            if reception.address is not None:
                context.setdefault("ip", reception.address)
            if reception.user_agent is not None:
                context.setdefault("userAgent", reception.user_agent)
        if "ip" in context:
            address = stored_address(context.pop("ip"), reception.ip_policy)
            if address is not None:
                context["ip"] = address
        if reception.cookie_id is not None:
            context["cookieId"] = reception.cookie_id
        if times.ahead_seconds is not None:
            context["aheadSeconds"] = times.ahead_seconds
            noticed["ahead"] += 1
            noticed["ahead_whole_hours"] += times.is_whole_hours
        if context or isinstance(made.get("context"), dict):
            made["context"] = context
        if made.get("type") == "alias" and _text(made.get("userId")) == _text(made.get("previousId")):
            noticed["alias_to_itself"] += 1

    def _hide(self, made: dict[str, Any], hider: Hider) -> None:
        for name in self._places:
            if name in made:
                made[name] = hider.value(name, made[name])
        for name, action in self._columns.items():
            if (text := _text(made.get(name))) is not None:
                made[name] = hider.text(action, text)
        for name in ("context", "traits", "properties"):
            if made.get(name) is None:
                made.pop(name, None)

    def _check_size(self, message: Any, line: bytes) -> None:
        """Raise _Rejected for a message that is too large as it was sent, or too deep, or too wide."""
        if len(line) > self._largest and (size := len(orjson.dumps(message))) > self._largest:
            raise _Rejected(f"the event is {size:,} bytes long; the limit is {self._largest:,}")
        if line.count(b"{") + line.count(b"[") > self._deepest or line.count(b":") > self._most_properties:
            depth, names = _shape(message)
            if depth > self._deepest:
                raise _Rejected(f"the event is nested more than {self._deepest} levels deep")
            if names > self._most_properties:
                raise _Rejected(f"the event has {names:,} properties; the limit is {self._most_properties:,}")

    def _rejection(self, index: int, message: Any, reason: str) -> RejectedMessage:
        message_id = _text(message.get("messageId")) if isinstance(message, dict) else None
        text = None
        if self._hider is None:
            if isinstance(message, dict):
                message = {name: value for name, value in message.items() if name != "writeKey"}
            try:
                text = orjson.dumps(message)[: self._largest].decode("utf-8", "ignore")
            except (orjson.JSONEncodeError, RecursionError):
                text = None
        return RejectedMessage(index, message_id[:200] if message_id else None, reason, text)


class _Rejected(Exception):
    pass


def _shape(value: Any) -> tuple[int, int]:
    """Return the depth of a value's nesting, and the number of names in it."""
    deepest = names = 0
    waiting = [(value, 1)]
    while waiting:
        inside, depth = waiting.pop()
        if isinstance(inside, dict):
            names += len(inside)
            deepest = max(deepest, depth)
            waiting += [(each, depth + 1) for each in inside.values()]
        elif isinstance(inside, list):
            deepest = max(deepest, depth)
            waiting += [(each, depth + 1) for each in inside]
    return deepest, names


def invalid_reason(message: Mapping[str, Any]) -> str | None:
    """Return why a message is invalid; None if it is valid."""
    return next(_reasons(message), None)


def _reasons(message: Mapping[str, Any]) -> Iterator[str]:
    kind = _cast(message.get("type"))
    if _blank(kind):
        yield f"type is missing; expected one of {_TYPES}"
    if kind not in MESSAGE_TABLES:
        yield f"type '{(kind or '')[:_SHOWN]}' is not known; expected one of {_TYPES}"
    if _text(message.get("userId")) is None and _text(message.get("anonymousId")) is None:
        yield "neither userId nor anonymousId is there"
    if kind == "track" and _text(message.get("event")) is None:
        yield "a track message needs an event"
    if kind == "group" and _text(message.get("groupId")) is None:
        yield "a group message needs a groupId"
    if kind == "alias" and _text(message.get("previousId")) is None:
        yield "an alias message needs a previousId"
    for name in rules.TIME_FIELDS:
        value = message.get(name)
        if value is None or value == "":
            continue
        if parse_time(value) is None:
            yield f"{name} '{(_cast(value) or '')[:_SHOWN]}' is not an ISO 8601 time"
    for name in rules.OBJECT_FIELDS:
        value = message.get(name)
        if value is not None and not isinstance(value, dict) and value != []:
            yield f"{name} is not an object but {_json_type(value)}"


def _cast(value: Any) -> str | None:
    """Return a JSON value as loading casts it to text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(value: Any) -> str | None:
    """Return a field's text, trimmed; None if blank."""
    if type(value) is str:
        return value.strip(rules.SPACES) or None
    text = _cast(value)
    return None if _blank(text) else text.strip(rules.SPACES)  # type: ignore[union-attr]


def _blank(text: str | None) -> bool:
    return text is None or not text.strip(rules.SPACES)


def _json_type(value: Any) -> str:
    """Return the name that DuckDB's `json_type` has for a value, in lower case."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "ubigint" if value >= 0 else "bigint"
        case float():
            return "double"
        case str():
            return "varchar"
        case _:
            return "array"
