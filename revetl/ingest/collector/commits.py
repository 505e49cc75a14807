"""Group commit: requests wait together for one sync of the disk."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from revetl.ingest.collector.segments import SegmentLog

PAUSE_SECONDS = 0.005
"""The least time between the starts of two syncs."""
_LATEST = 2_000


class CannotStore(Exception):
    """An event can't be stored now: the disk is full or failing."""


class GroupCommit:
    """Appends frames to a log. While one sync runs, the frames of further requests gather for the next."""

    def __init__(self, log: SegmentLog, pause: float = PAUSE_SECONDS) -> None:
        self._log = log
        self._pause = pause
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "revetl-commit")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.seconds: deque[float] = deque(maxlen=_LATEST)
        """How long the latest syncs took."""
        self.count = 0
        self.failures = 0

    async def write(self, frame: bytes) -> None:
        """Write a frame and wait until it is on disk. Raises CannotStore."""
        if self._task is None or self._closing:
            raise CannotStore("the collector is stopping")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((frame, future))
        self._wake.set()
        await future

    def start(self) -> None:
        """Start to write."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, and stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            pause = self._pause - (loop.time() - last)
            if pause > 0 and not self._closing:
                await asyncio.sleep(pause)
            last = loop.time()
            batch, self._waiting = self._waiting, []
            if batch:
                await self._commit(loop, batch)
            if self._closing and not self._waiting:
                return

    async def _commit(
        self, loop: asyncio.AbstractEventLoop, batch: list[tuple[bytes, asyncio.Future[None]]]
    ) -> None:
        started = loop.time()
        failure: Exception | None = None
        try:
            await loop.run_in_executor(self._thread, self._log.append, [frame for frame, _ in batch])
        except Exception as error:
            # Whatever it is, requests must be answered, and the next ones served.
            self.failures += 1
            failure = CannotStore(getattr(error, "strerror", None) or type(error).__name__)
        self.count += 1
        self.seconds.append(loop.time() - started)
        for _, future in batch:
            # A request whose client has gone was cancelled.
            if not future.done():
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
