"""What every played API is made of: a request as it came, what it asks for, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson

from revetl.sandbox.rules import Rule
from revetl.sandbox.store import Held


@dataclass(frozen=True)
class Sent:
    """A request as it came. `path` is what follows the destination's name, such as `/v1/people`."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def parts(self) -> list[str]:
        """The path's parts."""
        return [part for part in self.path.split("/") if part]

    @property
    def asked(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return orjson.loads(self.raw)

    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))

    @property
    def bearer(self) -> str:
        """The token of the header; empty where there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""


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

    def read(self, sent: Sent, held: Held) -> Call | Answer:
        """The call in a request, or the answer that refuses it."""

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        """Hold what the call says, but for the records that a rule rejects."""


def refusing(rejecting: list[Rule], record_id: str) -> str | None:
    """The reason of the first rule that rejects a record; None where none does."""
    return next((rule.reason for rule in rejecting if rule.matches(record_id)), None)
