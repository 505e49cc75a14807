"""Rate limits per account, on concurrent requests and requests per second, shared by a user's processes.

All clients with the same host and credentials share one folder, named by a digest of both:

    slot-0 … slot-7    one lock each: its holder may have a request in flight
    queue              a shared lock, held by processes that wait for a slot
    known              when the next request is due, until when all pause, how many may be in flight now

The locks are the kernel's, so a process that dies releases them. Acquiring a slot takes about 15
microseconds, 25 with a rate; the SQLite bucket of pyrate-limiter took 900 for the rate alone, and does not
limit concurrent requests."""

from __future__ import annotations

import asyncio
import getpass
import os
import random
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from revetl.destinations.base.spec import RateLimit
from revetl.errors import UsageError
from revetl.local.interprocess import (
    Board,
    Lock,
    SharedRate,
    lock,
)

_VARIABLE = "REVETL_BUDGET_DIR"
_POLL_SECONDS = (0.003, 0.02)
_STAND_BACK_SECONDS = 0.025
_YIELD_SECONDS = 0.05
_CHECK_SECONDS = 0.25
_CUT_SECONDS = 1.0
_CUT_FORGOTTEN_SECONDS = 300.0


def account(base_url: str, secrets: Iterable[str]) -> str:
    """Return the id of an account: a digest that reveals neither the address nor a secret.

    It is computed from the host and the secrets; without secrets, from the full address, which then
    identifies the account."""
    url = urlsplit(base_url)
    credential = "\0".join(sorted(set(secrets)))
    place = url.netloc.rpartition("@")[2].lower() if credential else base_url
    key = blake2b(credential.encode()).digest()
    return blake2b(place.encode(), key=key, digest_size=16, person=b"revetl budget").hexdigest()


def budgets_dir() -> Path:
    """Return the folder of this user's rate limits, created if missing: `REVETL_BUDGET_DIR`, or a folder in
    the system's temporary directory. Raises UsageError when it is unusable, or belongs to another user."""
    chosen = os.environ.get(_VARIABLE)
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"revetl-{user}" / "budgets"
    try:
        if not chosen:
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            _is_ours(folder.parent)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None
    return folder


def _is_ours(folder: Path) -> None:
    found = folder.lstat()
    if not hasattr(os, "getuid"):
        return
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(None, f"{folder} is not a folder")
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(None, f"others may write to {folder}")


def _unusable(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{folder}: cannot use the folder of shared rate limits ({error.strerror or error}). "
        f"Set {_VARIABLE} to a folder that belongs to you, on a local disk."
    )


class RateLimiter:
    """One process's access to the shared rate limit of an account.

    `at_once` limits the requests in flight of all processes together, `pace` their rate. `check` is called
    regularly during a wait, and may raise to end it; `on_pause` is called with the time (seconds since 1970)
    until which all pause, before the wait. Raises UsageError when the folder is unusable."""

    def __init__(
        self,
        account: str,
        *,
        at_once: int,
        pace: RateLimit | None = None,
        check: Callable[[], None] = lambda: None,
        on_pause: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._folder = budgets_dir() / account
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._board = Board(self._folder)
        except OSError as error:
            raise _unusable(self._folder, error) from None
        self._at_once = self._limit = at_once
        self._interval, self._slack = _spacing(pace) if pace else (0.0, 0.0)
        self._check = check
        self._on_pause = on_pause
        self._slots: dict[int, Lock] = {}
        self._held: set[int] = set()
        self._queue = lock(self._folder / "queue")
        self._waiting = 0
        self._head = asyncio.Lock()
        self._freed = asyncio.Event()
        self._left_free = -1
        self._stand_back_until = 0.0
        self._may_yield_at = 0.0

    def close(self) -> None:
        """Release all locks."""
        for each in (*self._slots.values(), self._queue):
            each.close()
        self._board.close()

    @property
    def at_once(self) -> int:
        """The number of requests that may be in flight now, of all processes together."""
        return self._allowed(self._board.read())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait until a request may be sent, and hold a slot until it is answered. Yields the time at which it
        was sent, for `overloaded`."""
        slot = await self._enter()
        try:
            yield time.time()
        finally:
            self._leave(slot)

    def pause(self, seconds: float) -> None:
        """Pause all processes of the account for some seconds."""
        with self._board.alone() as known:
            self._board.write(known._replace(resume_at=max(known.resume_at, time.time() + seconds)))

    def overloaded(self, sent_at: float) -> None:
        """Halve the allowed concurrency after a rate-limited request that was sent at `sent_at`. Requests
        sent before the last halving, or within a second of it, cause no further one."""
        with self._board.alone() as known:
            if sent_at <= known.cut_at + _CUT_SECONDS:
                return
            window = max(1.0, self._allowed(known) / 2)
            self._board.write(known._replace(window=window, cut_at=time.time()))

    def succeeded(self) -> None:
        """Count a successful request: after as many as may be in flight, allow one more in flight."""
        if self._board.read().window >= self._at_once:
            return
        with self._board.alone() as known:
            self._board.write(known._replace(window=known.window + 1 / known.window))

    def _allowed(self, known: SharedRate) -> int:
        if known.cut_at + _CUT_FORGOTTEN_SECONDS < time.time():
            return self._at_once
        return int(min(self._at_once, max(1.0, known.window)))

    async def _enter(self) -> int:
        while True:
            # Wait for a pause without a slot, and for the rate with one: otherwise all requests that waited
            # for a slot would be sent at once.
            while (until := self._board.read().resume_at) > time.time():
                self._on_pause(until)
                await self.sleep(until - time.time())
            slot = await self._slot()
            try:
                if await self._in_time():
                    return slot
            except BaseException:
                self._leave(slot)
                raise
            self._leave(slot)

    async def _in_time(self) -> bool:
        """Wait for the rate, by GCRA (a token bucket stored as one timestamp). Return False if the account
        was paused meanwhile."""
        if self._interval:
            with self._board.alone() as known:
                due = max(known.due, time.time())
                self._board.write(known._replace(due=due + self._interval))
            await self.sleep(due - self._slack - time.time())
        return self._board.read().resume_at <= time.time()

    async def _slot(self) -> int:
        if not self._waiting and (slot := self._take()) is not None:
            return slot
        self._waiting += 1
        try:
            async with self._head:  # in order, one polling for all
                poll, longest = _POLL_SECONDS
                while (slot := self._take()) is None:
                    self._check()
                    self._queue.take(shared=True)
                    self._freed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(poll):
                            await self._freed.wait()
                    poll = min(poll * 1.5, longest)
                return slot
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._queue.give_back()

    def _take(self) -> int | None:
        back = time.monotonic() < self._stand_back_until
        self._limit = self._allowed(self._board.read())
        for number in range(self._limit):
            if number in self._held or (back and number == self._left_free):
                continue
            if number not in self._slots:
                self._slots[number] = lock(self._folder / f"slot-{number}")
            if self._slots[number].take():
                self._held.add(number)
                return number
        return None

    def _leave(self, slot: int) -> None:
        self._held.discard(slot)
        self._slots[slot].give_back()
        self._yield(slot)
        self._freed.set()

    def _yield(self, slot: int) -> None:
        """Occasionally leave a slot to waiting processes, with a probability that grows with the slots held:
        otherwise a process with fast responses would take its slots again before others poll."""
        now = time.monotonic()
        if now < self._may_yield_at:
            return
        self._may_yield_at = now + _YIELD_SECONDS
        if random.random() * self._limit <= len(self._held) + 1 and self._others_wait():  # noqa: S311
            self._left_free, self._stand_back_until = slot, now + _STAND_BACK_SECONDS

    def _others_wait(self) -> bool:
        if self._waiting:
            self._queue.give_back()
        alone = self._queue.take()
        self._queue.give_back()
        if self._waiting:
            self._queue.take(shared=True)
        return not (alone and self._queue.can_share)

    async def sleep(self, seconds: float) -> None:
        """Sleep, calling `check` regularly."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            await asyncio.sleep(min(left, _CHECK_SECONDS))


def _spacing(pace: RateLimit) -> tuple[float, float]:
    """Return the seconds between two requests, and how early one may be sent. A burst is at most a tenth of
    a second's requests, and a twentieth of all; the rate is lower by as much, so that no window of
    `per_seconds` has more than `requests`."""
    burst = int(min(0.05 * pace.requests, 0.1 * pace.requests / pace.per_seconds))
    interval = pace.per_seconds / (pace.requests - burst)
    return interval, burst * interval
