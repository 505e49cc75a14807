"""Running a delivery's coroutine wherever revetl is called from, and ending it in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from revetl.sync.deliver import Delivery


def run_delivery(make: Callable[[], Delivery]) -> bool:
    """Run the delivery that `make` makes to its end; gives whether SIGINT or SIGTERM ended it. Runs in a
    thread of its own where a loop is running already (a notebook). Raises what the delivery raises."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_interruptible(make()))
    outcome: list[bool | BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(_interruptible(make())))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="revetl-delivery")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def _interruptible(delivery: Delivery) -> bool:
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        delivery.stop.set()

    with _signals(asyncio.get_running_loop(), stop):
        await delivery.run()
    return bool(caught)


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[int], None]) -> Iterator[None]:
    """Only the main thread may take signals; elsewhere (a notebook, an orchestrator) they are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
