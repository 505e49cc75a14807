"""Segment files: events on disk from the moment they are acknowledged until they are landed.

A segment is a sequence of frames. A frame is a marker, the length of its payload and the payload's CRC-32,
then the payload: what one request brought. The marker isn't valid UTF-8, so it can't occur in a payload, and
reading goes on at the next frame after a damaged one. A collector that starts never appends to an existing
segment, so a torn frame can only be at the end of what a killed one wrote.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from revetl.errors import DiskError, UsageError
from revetl.local.interprocess import lock
from revetl.local.private_files import make_private_folder

SUFFIX = ".segment"
_MARKER = b"\xf5\xfervtl"
_HEADER = struct.Struct("<6sII")
_LARGEST_FRAME = 64 * 1024 * 1024
_SEGMENT_BYTES = 32 * 1024 * 1024


def frame(payload: bytes) -> bytes:
    """Return a payload as a frame."""
    return _HEADER.pack(_MARKER, len(payload), zlib.crc32(payload)) + payload


@dataclass(frozen=True)
class SegmentContent:
    """The payloads of a segment's intact frames, and the number of bytes that belong to none."""

    payloads: tuple[bytes, ...]
    damaged_bytes: int


def read_segment(path: Path) -> SegmentContent:
    """Read a segment. Raises OSError."""
    data = path.read_bytes()
    payloads: list[bytes] = []
    place = damaged = 0
    while place < len(data):
        payload = _payload_at(data, place)
        if payload is not None:
            payloads.append(payload)
            place += _HEADER.size + len(payload)
            continue
        following = data.find(_MARKER, place + 1)
        end = len(data) if following < 0 else following
        damaged += end - place
        place = end
    return SegmentContent(tuple(payloads), damaged)


def _payload_at(data: bytes, place: int) -> bytes | None:
    """Return the payload of the frame at an offset; None if the frame is damaged or missing."""
    start = place + _HEADER.size
    if start > len(data):
        return None
    marker, length, checksum = _HEADER.unpack_from(data, place)
    if marker != _MARKER or length > _LARGEST_FRAME or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if zlib.crc32(payload) == checksum else None


@dataclass(frozen=True)
class Backlog:
    """Segments that are not landed yet. `oldest` is the Unix time of the first one's creation."""

    segments: int
    bytes: int
    oldest: float | None


def backlog_of(folder: Path) -> Backlog:
    """Return the backlog in a collector's folder, whether or not the collector runs."""
    sizes, times = [], []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            found = path.stat()
            if found.st_size:
                sizes.append(found.st_size)
                times.append(_created_at(path))
    return Backlog(len(sizes), sum(sizes), min(times, default=None))


def _created_at(path: Path) -> float:
    """Return when a segment was created, from its name."""
    try:
        return int(path.name.split("-")[1]) / 1e9
    except (IndexError, ValueError):
        return path.stat().st_mtime


class SegmentLog:
    """The segments of one collector. `append` returns once the frames are on disk; `closed` are segments that
    get no more frames. Methods can be called from any thread.

    Raises UsageError if another collector uses the folder, DiskError if it can't be written.
    """

    def __init__(self, folder: Path, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._turn = threading.Lock()
        try:
            make_private_folder(folder)
            self._lock = lock(folder / "lock")
            taken = self._lock.take()
        except OSError as error:
            raise DiskError(f"{folder}: cannot be written ({error.strerror}).") from None
        if not taken:
            raise UsageError(
                f"{folder}: another collector uses this folder. Stop it, or set another collector.directory "
                "in revetl.yml."
            )
        self._file: int | None = None
        self._path: Path | None = None
        self._good = 0
        self._last = max((_sequence_of(path) for path in folder.glob(f"*{SUFFIX}")), default=0)
        self._closed = {path: path.stat().st_size for path in sorted(folder.glob(f"*{SUFFIX}"))}
        # Names differ between collectors, because rejected messages are identified by them.
        self._name = uuid.uuid4().hex[:8]

    @property
    def total_bytes(self) -> int:
        """The bytes of all segments."""
        return sum(self._closed.values()) + self._good

    @property
    def backlog(self) -> Backlog:
        """What is not landed yet."""
        with self._turn:
            paths = list(self._closed)
            if self._path is not None and self._good:
                paths.append(self._path)
            oldest = min(map(_created_at, paths), default=None)
            return Backlog(len(paths), self.total_bytes, oldest)

    def append(self, frames: Sequence[bytes]) -> None:
        """Write frames and wait until they are on disk. Raises OSError, and then none of them counts."""
        with self._turn:
            if self._file is not None and self._good >= self._segment_bytes:
                self._close()
            if self._file is None:
                self._open()
            assert self._file is not None
            data = b"".join(frames)
            try:
                written = 0
                view = memoryview(data)
                while written < len(data):
                    written += os.write(self._file, view[written:])
            except OSError:
                # What was written of an incomplete frame must not stay in front of the next one.
                try:
                    os.ftruncate(self._file, self._good)
                    os.lseek(self._file, self._good, os.SEEK_SET)
                except OSError:
                    self._close()
                raise
            try:
                _sync(self._file)
            except OSError:
                # After a failed sync the system may have dropped pages it marks as clean: start over.
                self._close()
                raise
            self._good += len(data)

    def rotate(self) -> None:
        """Close the current segment, so that it can be landed."""
        with self._turn:
            if self._file is not None and self._good:
                self._close()

    @property
    def closed(self) -> list[Path]:
        """Segments that get no more frames, oldest first."""
        with self._turn:
            return sorted(self._closed, key=_sequence_of)

    def remove(self, path: Path) -> None:
        """Delete a landed segment."""
        with self._turn:
            path.unlink(missing_ok=True)
            self._closed.pop(path, None)

    def close(self) -> None:
        """Close the files, and let another collector use the folder."""
        with self._turn:
            if self._file is not None:
                self._close()
        self._lock.close()

    def _open(self) -> None:
        self._last += 1
        self._path = self.folder / f"{self._last:012d}-{time.time_ns()}-{self._name}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._file = os.open(self._path, flags, 0o600)
        self._good = 0
        try:
            _sync_folder(self.folder)
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        assert self._file is not None
        assert self._path is not None
        with suppress(OSError):
            os.close(self._file)
        if self._good:
            self._closed[self._path] = self._good
        else:
            with suppress(OSError):
                self._path.unlink()
        self._file, self._path, self._good = None, None, 0


def _sequence_of(path: Path) -> int:
    first = path.name.partition("-")[0]
    return int(first) if first.isdigit() else 0


def _sync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable. Windows has no such call."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
