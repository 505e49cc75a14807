"""Run a delivery's coroutine from any caller, and shut it down gracefully."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class Stopper:
    """Whether a signal asked to stop; it notifies every delivery in progress."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._told: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        return self.signal is not None

    def stop(self, number: int) -> None:
        """Ask all deliveries to stop, because of the signal `number`."""
        self.signal = self.signal or number
        for tell in list(self._told):
            tell()

    @contextmanager
    def telling(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Iterator[None]:
        """Set `event` in `loop` when a stop is requested."""

        def tell() -> None:
            loop.call_soon_threadsafe(event.set)

        with self._lock:
            self._told.append(tell)
        if self.stopped:
            event.set()
        try:
            yield
        finally:
            with self._lock:
                self._told.remove(tell)


@contextmanager
def signals(stopper: Stopper) -> Iterator[None]:
    """Stop gracefully on SIGINT and SIGTERM, and immediately on a second one. Only the main thread can handle
    signals; in other threads (a notebook, an orchestrator) they are left to the caller."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def caught(number: int, _: FrameType | None) -> None:
        if stopper.stopped:
            raise KeyboardInterrupt
        stopper.stop(number)

    before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_to_end(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that `make` creates; in a new thread if a loop is already running (a notebook).
    Raises what the coroutine raises."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(make()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="revetl-delivery")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
