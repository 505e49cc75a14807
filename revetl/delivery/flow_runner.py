"""Holding a connector's side of a conversation: its requests and waits out, the responses in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from revetl.delivery.http import GaveUp, Transport
from revetl.delivery.transports import place_of
from revetl.destinations.base.answers import UNLIKE
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Asking,
    JobUnfinished,
    Step,
    Wait,
)
from revetl.errors import DestinationRefused

T = TypeVar("T")


class UnreadableAnswer(DestinationRefused):
    """A connector could not read an answer: it may have been applied, or not."""


@dataclass(frozen=True)
class FlowResult(Generic[T]):
    """What a conversation gave, the last response of it, and whether an earlier attempt of one of its
    requests may have been applied all the same."""

    value: T
    response: httpx.Response | None
    unsure: bool


async def converse(transport: Transport, flow: Asking[T], step: Step | None = None) -> FlowResult[T]:
    """Run a flow to its end, and close it; `step` is its first one where that was taken already. Raises what
    `Transport.send` raises, Refused (from the flow), Unread for an answer that the flow cannot read, and
    GaveUp for a job that never ended."""
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
            except (AnswerNotUnderstood, *UNLIKE) as error:
                why = str(error) if isinstance(error, AnswerNotUnderstood) else repr(error)
                raise UnreadableAnswer(
                    transport.redact(
                        f"{place_of(response.request.url)} answered what its API does not ({why}): "
                        f"{response.status_code} {transport.excerpt(response.text)} Is the address right? "
                        "Nothing of this batch is taken for delivered; it is sent again with the next run."
                    )
                ) from None
    except StopIteration as end:
        return FlowResult(end.value, response, unsure)
    except JobUnfinished as error:
        where = "the destination" if response is None else place_of(response.request.url)
        raise GaveUp(
            f"{where} has not said what became of a batch: {error}. It is sent again with the next run.",
            surely_unsent=False,
        ) from None
    finally:
        flow.close()
