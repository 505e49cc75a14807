"""Locks, and one small record, that processes of one machine share.

A lock is free again when its process is gone, however it went.
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
    """A lock on a file that is opened at the first try and kept open. `can_share`: whether `shared` works."""

    can_share: bool

    def take(self, *, shared: bool = False) -> bool:
        """Whether the lock is ours now; never waits. `shared`: held by any number at once, all shared."""

    def give_back(self) -> None:
        """Let others have it; nothing happens when it is not held."""

    def close(self) -> None:
        """Give it back and close the file."""


class FileLock:
    """A `Lock` by flock: about a microsecond to take and give back."""

    can_share = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, shared: bool = False) -> bool:
        if self._descriptor is None:
            # The folder may have been cleared away with other temporary files.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.utime(self._descriptor)  # who clears old temporary files is to see that it is used
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
    """A `Lock` by the library filelock, where there is no flock; it knows no shared lock, so `shared` is
    never ours."""

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
    """A lock on a file, of the kind this system has."""
    return PortableLock(path) if fcntl is None else FileLock(path)


class Known(NamedTuple):
    """What the sharers of a budget know. Moments are seconds since 1970: `due`, when the next request is to
    leave by the rate; `resume_at`, before which none may; `cut_at`, when `window`, the most requests at
    once, was last halved."""

    due: float = 0.0
    resume_at: float = 0.0
    window: float = math.inf
    cut_at: float = 0.0


class Board:
    """The file that holds what is known. It may be lost or damaged at any time: then nothing is known, and
    the destination's next answers tell again. Raises OSError when the folder cannot hold it."""

    def __init__(self, folder: Path) -> None:
        descriptor = os.open(folder / "known", os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._lock = lock(folder / "lock")
        with self.alone() as known:  # takes its place on the disk, and shows that locks work here
            self.write(known)

    def read(self) -> Known:
        """What is known."""
        for _ in range(3):  # a write by another process may be half done
            self._file.seek(0)
            block = self._file.read(_SIZE)
            if len(block) == _SIZE and zlib.crc32(block[:-4]).to_bytes(4, "little") == block[-4:]:
                magic, written_at, *values = _BLOCK.unpack_from(block)
                # Written later than now: the clock was set back, and its moments mean nothing.
                if magic != _MAGIC or written_at > time.time() + _CLOCK_SLACK_SECONDS:
                    break
                return Known(*values)
        return Known()

    def write(self, known: Known) -> None:
        """Replace what is known. Only inside `alone`, with what was read there."""
        block = _BLOCK.pack(_MAGIC, time.time(), *known)
        self._file.seek(0)
        self._file.write(block + zlib.crc32(block).to_bytes(4, "little"))

    @contextmanager
    def alone(self) -> Iterator[Known]:
        """What is known, while nobody else writes. The lock is held for microseconds; a process that was
        stopped while holding it is not waited for: a lost write lets one request go early at worst."""
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
