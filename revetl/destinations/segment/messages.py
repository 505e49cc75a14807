"""Messages of Segment's spec, and their batches: docs/destinations/segment.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from revetl.destinations.base.records import Record, Records
from revetl.destinations.base.spec import Batch

Message = dict[str, Any]
BEFORE = "previousId"
"""The field with a person's previous identifier."""
MESSAGE_BYTES = 32_000
MESSAGE_ID = re.compile(".{1,99}")
"""The length that Segment accepts for the id of a message."""
_OPENING, _CLOSING = b'{"batch":[', b"]}"


def person(record: Record) -> Message:
    """Return a message's person. Segment requires one: for an account alone, it is a placeholder member, the
    same in each message."""
    known = {name: value for name, value in record.identifiers.items() if name != "groupId"}
    return known or {"anonymousId": f"group-{record.identifiers['groupId']}"}


def message_id(records: Records, record: Record) -> str:
    """Return a message id that stays the same across retries, so that Segment drops duplicates."""
    if records.has_message_ids and MESSAGE_ID.fullmatch(record.key):
        return record.key
    return f"revetl-{records.change_id(record)}"


def alias(records: Records, record: Record) -> Message | None:
    """Return the alias message for a previous identifier; None if there isn't one."""
    before = record.fields.get(BEFORE)
    user = record.identifiers.get("userId")
    if before in (None, "") or str(before) == str(user):
        return None
    named = {"previousId": str(before), "userId": user}
    return {"type": "alias", **named, "messageId": f"{message_id(records, record)}-alias"}


def saved(records: Records, record: Record, traits: Mapping[str, Any]) -> Message:
    """Return the message that sets the traits of a person, or of their group if there is one."""
    group = record.identifiers.get("groupId")
    about = {} if group is None else {"groupId": group}
    return {
        "type": "identify" if group is None else "group",
        **person(record),
        **about,
        "messageId": message_id(records, record),
        "traits": traits,
        **({} if record.timestamp is None else {"timestamp": record.timestamp}),
    }


def happened(records: Records, record: Record, kind: str) -> Message:
    """Return the message of an event, or of a page or screen view named like the event."""
    group = record.identifiers.get("groupId")
    return {
        "type": kind,
        **person(record),
        "messageId": message_id(records, record),
        "event" if kind == "track" else "name": records.event_of(record),
        "properties": record.fields,
        "timestamp": record.timestamp,
        **({} if group is None else {"context": {"groupId": group}}),
    }


def packed(told: Iterable[list[Message]], limits: Batch) -> tuple[list[bytes], dict[int, str]]:
    """Return the bodies of batches within the limits, from each record's messages; and by index, why a record
    was rejected."""
    bodies: list[bytes] = []
    refused: dict[int, str] = {}
    batch: list[bytes] = []
    size = 0

    def close() -> None:
        nonlocal batch, size
        if batch:
            bodies.append(_OPENING + b",".join(batch) + _CLOSING)
        batch, size = [], len(_OPENING) + len(_CLOSING)

    close()
    for at, messages in enumerate(told):
        written = [orjson.dumps(message) for message in messages]
        largest = max(map(len, written))
        if largest > MESSAGE_BYTES:
            refused[at] = f"its message has {largest} bytes, more than the maximum of {MESSAGE_BYTES}"
            continue
        more = sum(len(each) + 1 for each in written)
        if len(batch) + len(written) > limits.records or size + more > (limits.bytes or size + more):
            close()
        batch += written
        size += more
    close()
    return bodies, refused
