"""What a connector's generators yield, and polling of asynchronous jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx
import orjson

from revetl.destinations.base.records import Result

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Yielded in place of a request: pause for that many seconds. The value sent back is ignored. The first
    step of a flow is always a request."""

    seconds: float


Step: TypeAlias = "httpx.Request | Wait"
Asking = Generator[Step, "httpx.Response", T]
"""A generator that queries the destination: yields requests and waits, receives responses."""

Flow = Asking[Result]


class Refused(Exception):
    """Raised in a flow when a response, regardless of its status, means that nothing will be accepted.
    `partly`: some of the batch may already have been accepted, so its outcome is unknown."""

    def __init__(self, message: str, *, partly: bool = False) -> None:
        super().__init__(message)
        self.partly = partly


class AudienceMissing(Exception):
    """Raised in `prepare` when the audience doesn't exist, so it has no members regardless of the state. With
    `everything`, nothing else that the sync delivered exists either."""

    def __init__(self, audience: str, *, everything: bool = False) -> None:
        super().__init__(audience)
        self.audience = audience
        self.everything = everything


class JobUnfinished(Exception):
    """Raised in a flow when a job was accepted but didn't report its outcome in time: its records' outcome is
    unknown, and they are sent again in the next run."""


class AnswerNotUnderstood(Exception):
    """Raised in a flow for an unexpected response: the outcome of its records is unknown."""


def object_of(response: httpx.Response, *keys: str) -> dict[str, Any]:
    """Return the JSON object at `keys` of a response; empty if absent, as in a proxy's error page."""
    try:
        found = orjson.loads(response.content)
        for key in keys:
            found = found[key]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def poll(
    ask: Callable[[], httpx.Request],
    is_done: Callable[[httpx.Response], bool],
    *,
    first: float = 1.0,
    longest: float = 60.0,
    limit: float = 3_600.0,
) -> Asking[httpx.Response]:
    """Poll a job until it is done, with waits that double from `first` to `longest` seconds. Returns the
    final response. Raises Unfinished once the waits would exceed `limit` seconds in total."""
    waited, wait = 0.0, first
    while True:
        response = yield ask()
        if is_done(response):
            return response
        if waited + wait > limit:
            raise JobUnfinished(f"its job did not finish within {waited:,.0f} seconds")
        yield Wait(wait)
        waited, wait = waited + wait, min(2 * wait, longest)
