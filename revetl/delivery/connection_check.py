"""Check the connection and the credentials of a destination with a read-only request."""

from __future__ import annotations

import httpx

from revetl.delivery.http import NotAccepted, Transport
from revetl.delivery.shutdown import run_to_end
from revetl.delivery.transports import place_of
from revetl.destinations.base.destination import Destination, Refused
from revetl.errors import DestinationRefused

_EXCERPT = 500
"""The maximum number of characters of a response that are shown."""


def probed(destination: Destination) -> str:
    """Send a read-only request and return the response in a few words. Raises DestinationRefused when the
    destination cannot be reached or does not accept the credentials."""
    if not destination.can_probe:
        return "not checked: it has no read-only call"
    request = destination.probe()
    response = run_to_end(lambda: _ask(destination, request))
    said = f"{place_of(request.url)} answers {response.status_code}"
    return said if destination.unprobed is None else f"{said}. {destination.unprobed}"


async def _ask(destination: Destination, request: httpx.Request) -> httpx.Response:
    # Few retries: a user is waiting for the result.
    async with Transport(destination.model_copy(update={"retries": 1})) as transport:
        try:
            response = await transport.send(request)
        except (NotAccepted, Refused) as error:
            said = transport.redact(str(error))
            raise DestinationRefused(f"{place_of(request.url)} refused a read-only call: {said}") from None
        if response.is_error:
            # Some connectors read error responses in their flows; this request has no flow.
            said = transport.redact(" ".join(response.text.split()))[:_EXCERPT]
            raise DestinationRefused(
                f"{place_of(request.url)} refused a read-only call: {response.status_code} {said}"
            )
        return response
