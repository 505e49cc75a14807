"""Locks and a small record that processes on one machine share.

A lock is released when its process ends, even if it is killed.
"""

from __future__ import annotations

import math
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BLOCK = struct.Struct("<8s5d")
_MAGIC = b"revetl01"
_SIZE = _BLOCK.size + 4
_PATIENCE_SECONDS = 0.1
_CLOCK_SLACK_SECONDS = 1.0


class Lock(Protocol):
    """A lock on a file, which is opened on first use and kept open. `can_share`: `shared` is supported."""

    can_share: bool

    def take(self, *, shared: bool = False) -> bool:
        """Try to acquire the lock without waiting. Returns whether it was acquired. Shared locks can be held
        by several processes."""

    def give_back(self) -> None:
        """Release the lock, if held."""

    def close(self) -> None:
        """Release the lock and close the file."""


class FileLock:
    """A `Lock` with flock. Acquiring and releasing take about a microsecond."""

    can_share = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, shared: bool = False) -> bool:
        if self._descriptor is None:
            # The folder may have been removed with other temporary files.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.utime(self._descriptor)  # marks it as in use for cleaners of temporary files
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class PortableLock:
    """A `Lock` with the library filelock, for systems without flock. Doesn't support shared locks."""

    can_share = False

    def __init__(self, path: Path) -> None:
        import filelock

        self._lock = filelock.FileLock(path, thread_local=False)
        self._taken_elsewhere = filelock.Timeout

    def take(self, *, shared: bool = False) -> bool:
        if shared:
            return False
        try:
            self._lock.acquire(blocking=False)
        except self._taken_elsewhere:
            return False
        return True

    def give_back(self) -> None:
        self._lock.release(force=True)

    def close(self) -> None:
        self.give_back()


def lock(path: Path) -> Lock:
    """Return a lock on a file, of the kind that the system supports."""
    return PortableLock(path) if fcntl is None else FileLock(path)


class SharedRate(NamedTuple):
    """The shared state of a rate limit. Times are Unix seconds: `due`, when the rate permits the next
    request; `resume_at`, before which no request may be sent; `cut_at`, when `window`, the maximum of
    concurrent requests, was last halved."""

    due: float = 0.0
    resume_at: float = 0.0
    window: float = math.inf
    cut_at: float = 0.0


class Board:
    """The file with the shared state. If it is lost or damaged, the state is reset, and the destination's
    next responses restore it. Raises OSError if the folder can't be written to."""

    def __init__(self, folder: Path) -> None:
        descriptor = os.open(folder / "known", os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._lock = lock(folder / "lock")
        with self.alone() as known:  # allocates the file, and fails early if locks don't work here
            self.write(known)

    def read(self) -> SharedRate:
        """Return the shared state."""
        for _ in range(3):  # another process may be writing
            self._file.seek(0)
            block = self._file.read(_SIZE)
            if len(block) == _SIZE and zlib.crc32(block[:-4]).to_bytes(4, "little") == block[-4:]:
                magic, written_at, *values = _BLOCK.unpack_from(block)
                # A write in the future: the clock was set back, so the times are invalid.
                if magic != _MAGIC or written_at > time.time() + _CLOCK_SLACK_SECONDS:
                    break
                return SharedRate(*values)
        return SharedRate()

    def write(self, known: SharedRate) -> None:
        """Replace the shared state. Only valid inside `alone`, based on its value."""
        block = _BLOCK.pack(_MAGIC, time.time(), *known)
        self._file.seek(0)
        self._file.write(block + zlib.crc32(block).to_bytes(4, "little"))

    @contextmanager
    def alone(self) -> Iterator[SharedRate]:
        """Yield the shared state with the lock held, for microseconds. A process suspended with the lock
        isn't waited for: a lost update only lets one request be sent early."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not (taken := self._lock.take()) and time.monotonic() < until:
            time.sleep(0.0005)
        try:
            yield self.read()
        finally:
            if taken:
                self._lock.give_back()

    def close(self) -> None:
        """Close the files."""
        self._lock.close()
        self._file.close()
