"""Running a delivery's coroutine wherever revetl is called from, and ending it in order."""

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
    """Whether a signal asked to stop, told to every delivery that is under way."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._told: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        return self.signal is not None

    def stop(self, number: int) -> None:
        """Ask all to stop, for the signal `number`."""
        self.signal = self.signal or number
        for tell in list(self._told):
            tell()

    @contextmanager
    def telling(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Iterator[None]:
        """Have `event` of `loop` set when it is asked to stop."""

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
    """SIGINT and SIGTERM stop in order, a second one at once. Only the main thread may take signals;
    elsewhere (a notebook, an orchestrator) they are not ours."""
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
    """Run the coroutine that `make` makes; in a thread of its own where a loop is running already (a
    notebook). Raises what it raises."""
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
