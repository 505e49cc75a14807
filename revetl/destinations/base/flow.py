"""What a connector's generators yield, and the waiting that an asynchronous job takes."""

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
    """Yielded in the place of a request: send me nothing for so many seconds. What is sent back is of no
    account. A flow's first step is always a request."""

    seconds: float


Step: TypeAlias = "httpx.Request | Wait"
Asking = Generator[Step, "httpx.Response", T]
"""A conversation that finds something out: requests and waits out, responses in."""

Flow = Asking[Result]


class Refused(Exception):
    """Raised in a flow when a response, whatever its status, means that nothing will be accepted. `partly`:
    some of the batch may have been accepted before, and what became of it is unknown."""

    def __init__(self, message: str, *, partly: bool = False) -> None:
        super().__init__(message)
        self.partly = partly


class AudienceMissing(Exception):
    """Raised in `prepare` when the audience is not there, and nobody is held in it whatever the state says.
    With `everything`, nothing else that the sync has delivered is there either."""

    def __init__(self, audience: str, *, everything: bool = False) -> None:
        super().__init__(audience)
        self.audience = audience
        self.everything = everything


class Unfinished(Exception):
    """Raised in a flow when a job was taken, and did not say in time what became of it: the outcome of its
    records is unknown, and they are sent again with the next run."""


class NotUnderstood(Exception):
    """Raised in a flow for an answer that is not one of its tool's: what became of its records is unknown."""


def object_of(response: httpx.Response, *keys: str) -> dict[str, Any]:
    """The JSON object at `keys` of a response; empty where there is none, as in a proxy's error page."""
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
    """Ask for a job's state until it is done, after waits (seconds) that double from `first` to `longest`.
    Gives the response that said so. Raises Unfinished when they are more than `limit` in all."""
    waited, wait = 0.0, first
    while True:
        response = yield ask()
        if is_done(response):
            return response
        if waited + wait > limit:
            raise Unfinished(f"its job did not end within {waited:,.0f} seconds")
        yield Wait(wait)
        waited, wait = waited + wait, min(2 * wait, longest)
