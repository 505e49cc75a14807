"""The payload of a frame: a header line with the source and the kind of what follows, one per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import orjson

from revetl.ingest.collector.messages import RejectedMessage

Kind = Literal["messages", "rejected"]


class Payload(NamedTuple):
    """The source, the kind and the lines (JSON) of a frame."""

    source: str
    kind: Kind
    lines: bytes


def payload_of_messages(source: str, lines: Sequence[bytes]) -> bytes:
    """Return the payload for messages."""
    return b"\n".join((orjson.dumps([source, "messages"]), *lines))


def payload_of_rejected(source: str, rejected: Sequence[RejectedMessage]) -> bytes:
    """Return the payload for rejected messages."""
    lines = (orjson.dumps({"reason": each.reason, "text": each.text}) for each in rejected)
    return b"\n".join((orjson.dumps([source, "rejected"]), *lines))


def parse_payload(payload: bytes) -> Payload:
    """Parse a payload."""
    header, _, lines = payload.partition(b"\n")
    found: Any = orjson.loads(header)
    return Payload(found[0], found[1], lines)
