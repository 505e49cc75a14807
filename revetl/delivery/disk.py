"""This machine's disk: what goes wrong with spools and journals, as a sentence."""

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
"""The lower byte of SQLITE_IOERR and all of its kinds."""


def faults() -> tuple[type[Exception], ...]:
    """What Python, SQLite and Arrow raise for files that cannot be written or read."""
    return (OSError, sqlite3.Error, pa.ArrowException)


def may_pass(error: BaseException) -> bool:
    """Whether what could not be written or read now is there still: the disk is full, or fails."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, _IO_ERROR)
    return isinstance(error, OSError) and error.errno in (*_NO_SPACE, errno.EIO, errno.EROFS)


def disk_error(error: BaseException, folder: Path) -> DiskError:
    """The sentence for a fault of the disk that a folder is on."""
    full = isinstance(error, OSError) and error.errno in _NO_SPACE
    full |= isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    what = "the disk is full" if full else f"it cannot be written or read ({_one_line(error)})"
    way_out = "Free some space" if full else "See to the disk and the folder's permissions"
    return DiskError(
        f"{folder}: {what}. Everything that was acknowledged is kept, and nothing else counts as delivered. "
        f"{way_out} and run the sync again."
    )


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Raises DiskError for whatever goes wrong with the files of a folder."""
    try:
        yield
    except faults() as error:
        raise disk_error(error, folder) from error


def _one_line(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__
