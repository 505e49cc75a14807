"""Asking a destination something harmless, to know that it is there and takes the credentials."""

from __future__ import annotations

import httpx

from revetl.delivery.http import NotAccepted, Transport
from revetl.delivery.shutdown import run_to_end
from revetl.delivery.transports import place_of
from revetl.destinations.base.destination import Destination, Refused
from revetl.errors import DestinationRefused

_EXCERPT = 500
"""The most characters of an answer that are shown."""


def probed(destination: Destination) -> str:
    """What the destination says of a harmless request, in a few words. Raises DestinationRefused when it
    cannot be reached or does not take the credentials."""
    if not destination.can_probe:
        return "not asked, as it has no call that changes nothing"
    request = destination.probe()
    response = run_to_end(lambda: _ask(destination, request))
    said = f"{place_of(request.url)} answers {response.status_code}"
    return said if destination.unprobed is None else f"{said}. {destination.unprobed}"


async def _ask(destination: Destination, request: httpx.Request) -> httpx.Response:
    # Whoever waits for it wants to know now.
    async with Transport(destination.model_copy(update={"retries": 1})) as transport:
        try:
            response = await transport.send(request)
        except (NotAccepted, Refused) as error:
            said = transport.redact(str(error))
            raise DestinationRefused(f"{place_of(request.url)} refused a harmless call: {said}") from None
        if response.is_error:
            # Some connectors let their flows read errors, of which there is none here.
            said = transport.redact(" ".join(response.text.split()))[:_EXCERPT]
            raise DestinationRefused(
                f"{place_of(request.url)} refused a harmless call: {response.status_code} {said}"
            )
        return response
