"""Sends through the transport, in this process or, as a program, in one of its own.

python -m tests.helpers.sender '{"url": …}' NAME COUNT
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from revetl.delivery.http import Transport
from revetl.destinations.webhook.destination import Webhook


def webhook(url: str, **config: Any) -> Webhook:
    """A destination; `max_in_flight` and the others as in revetl.yml."""
    return Webhook.model_validate({"type": "webhook", "url": url, **config})


async def send_all(destination: Webhook, name: str, count: int) -> list[BaseException | int]:
    """Send so many requests by as many workers as may be in flight; gives each one's status or error."""
    async with Transport(destination) as transport:
        return await send(transport, destination, [f"{name}-{i}" for i in range(count)])


async def send(transport: Transport, destination: Webhook, names: list[str]) -> list[BaseException | int]:
    """Send a request a name through an open transport, as `send_all`."""
    numbers = iter(range(len(names)))
    outcomes: list[BaseException | int] = [0] * len(names)

    async def work() -> None:
        for number in numbers:
            try:
                response = await transport.send(destination.post("", json=names[number]))
                outcomes[number] = response.status_code
            except Exception as error:
                outcomes[number] = error

    await asyncio.gather(*(work() for _ in range(destination.max_in_flight)))
    return outcomes


if __name__ == "__main__":
    importlib.import_module("httpx_aiohttp")  # before it is ready, as it takes a while
    chosen = webhook(**json.loads(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    ended = asyncio.run(send_all(chosen, sys.argv[2], int(sys.argv[3])))
    sys.exit(0 if all(outcome == 200 for outcome in ended) else str(ended))
