"""Holding a connector's side of a conversation: its requests and waits out, the responses in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
import orjson

from revetl.carriers import place_of
from revetl.destinations.base import Asking, Refused, Step, Unfinished, Wait
from revetl.transport import GaveUp, Transport

T = TypeVar("T")
_UNLIKE = (orjson.JSONDecodeError, LookupError, TypeError, AttributeError)
"""What a connector raises that reads an answer of another form than its tool's."""


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What a conversation gave, the last response of it, and whether an earlier attempt of one of its
    requests may have been applied all the same."""

    value: T
    response: httpx.Response | None
    unsure: bool


async def converse(transport: Transport, flow: Asking[T], step: Step | None = None) -> Ended[T]:
    """Run a flow to its end, and close it; `step` is its first one where that was taken already. Raises what
    `Transport.send` raises, Refused (from the flow, or for an answer that it cannot read), and GaveUp for a
    job that never ended."""
    response: httpx.Response | None = None
    unsure = False
    try:
        if step is None:
            step = next(flow)
        while True:
            if isinstance(step, Wait):
                await transport.sleep(step.seconds)
                step = next(flow)
                continue
            response = await transport.send(step)
            unsure |= response.extensions["maybe_applied"]
            try:
                step = flow.send(response)
            except _UNLIKE as error:
                is_json = not isinstance(error, orjson.JSONDecodeError)
                what = f"what its API does not ({error!r})" if is_json else f"what is not JSON ({error})"
                excerpt = transport.excerpt(response.text)
                raise Refused(
                    f"{place_of(response.request.url)} answered {what}: {excerpt} Is the address right?"
                ) from None
    except StopIteration as end:
        return Ended(end.value, response, unsure)
    except Unfinished as error:
        where = "the destination" if response is None else place_of(response.request.url)
        raise GaveUp(
            f"{where} has not said what became of a batch: {error}. It is sent again with the next run.",
            surely_unsent=False,
        ) from None
    finally:
        flow.close()
