"""Run a connector's flow: send its requests, wait when it asks to, and pass the responses to it."""

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
    """A connector could not read a response: the request may or may not have been applied."""


@dataclass(frozen=True)
class FlowResult(Generic[T]):
    """The result of a flow, its last response, and whether an earlier attempt of one of its requests may have
    been applied anyway."""

    value: T
    response: httpx.Response | None
    unsure: bool


async def converse(transport: Transport, flow: Asking[T], step: Step | None = None) -> FlowResult[T]:
    """Run a flow to its end, and close it; `step` is its first step if that was already taken.

    Raises what `Transport.send` raises, Refused (from the flow), UnreadableAnswer for a response that the
    flow cannot read, and GaveUp for a job that did not finish."""
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
                        f"{place_of(response.request.url)} returned an unexpected response ({why}): "
                        f"{response.status_code} {transport.excerpt(response.text)} Check the address. "
                        "The batch is not marked as delivered; the next run sends it again."
                    )
                ) from None
    except StopIteration as end:
        return FlowResult(end.value, response, unsure)
    except JobUnfinished as error:
        where = "the destination" if response is None else place_of(response.request.url)
        raise GaveUp(
            f"{where} did not report the result of a batch: {error}. The next run sends it again.",
            surely_unsent=False,
        ) from None
    finally:
        flow.close()
