"""Errors of this machine's disk, for spools and write-ahead logs."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from revetl.errors import DiskError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IO_ERROR = 10
"""The low byte of SQLITE_IOERR and its extended codes."""


def faults() -> tuple[type[Exception], ...]:
    """Return the exceptions of Python, SQLite and Arrow for files that cannot be written or read."""
    return (OSError, sqlite3.Error, pa.ArrowException)


def may_pass(error: BaseException) -> bool:
    """Whether the error may be temporary, with the data still on disk: the disk is full, or fails."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, _IO_ERROR)
    return isinstance(error, OSError) and error.errno in (*_NO_SPACE, errno.EIO, errno.EROFS)


def disk_error(error: BaseException, folder: Path) -> DiskError:
    """Return the error for a fault of the disk of a folder."""
    full = isinstance(error, OSError) and error.errno in _NO_SPACE
    full |= isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    what = "the disk is full" if full else f"cannot write or read it ({_one_line(error)})"
    way_out = "Free some space" if full else "Check the disk and the folder's permissions"
    return DiskError(
        f"{folder}: {what}. Acknowledged records are kept, and nothing else counts as delivered. "
        f"{way_out} and run the sync again."
    )


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Raise DiskError for any failure of the files in a folder."""
    try:
        yield
    except faults() as error:
        raise disk_error(error, folder) from error


def _one_line(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__
