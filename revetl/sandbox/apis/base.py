"""The building blocks of mock APIs: a request as received, the call in it, and the response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson

from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination


@dataclass(frozen=True)
class ApiRequest:
    """A request as received. `path` is the part after the destination's name, such as `/v1/people`."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def parts(self) -> list[str]:
        """Return the path's parts."""
        return [part for part in self.path.split("/") if part]

    @property
    def asked(self) -> dict[str, str]:
        """Return the query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> Any:
        """Parse the body as JSON. Raises ValueError."""
        return orjson.loads(self.raw)

    def form(self) -> dict[str, str]:
        """Parse the body as a form."""
        return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))

    @property
    def bearer(self) -> str:
        """Return the bearer token; empty if there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""


@dataclass(frozen=True)
class Call:
    """A parsed request: its ids in order, and what the log records about it."""

    body: Any
    ids: list[str]
    operation: str
    message_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ApiResponse:
    """A response, and whether the call was applied."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False


class Api(Protocol):
    """An API: parses a request, rejecting what the tool would reject, and applies it."""

    @property
    def name(self) -> str:
        """Return its name in `/_/members`."""

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        """Return the call in a request, or an error response."""

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        """Store the call's data, except for records that a rule rejects."""


def refusing(rejecting: list[MisbehaviorRule], record_id: str) -> str | None:
    """Return the reason of the first rule that rejects a record; None if none does."""
    return next((rule.reason for rule in rejecting if rule.matches(record_id)), None)
