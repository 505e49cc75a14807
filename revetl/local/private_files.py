"""Files that only their owner may read, replaced in one step."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only from its first byte on. Raises OSError; the file
    is then as it was. The caller holds the lock of the file: what a killed writer left behind is removed."""
    for left in path.parent.glob(f".{path.name}.*.new"):
        with suppress(OSError):
            left.unlink()
    # Containers that share a folder may have the same process ids.
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if os.name == "posix":
        # The new name has to reach the disk too: the provider has already dropped the former token.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; one that is there already is restricted to that."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & _OTHERS:
        folder.chmod(0o700)


def readable_by_others(path: Path) -> str | None:
    """The mode of a file that others may read or write, as `chmod` spells it; None where nobody else may."""
    mode = path.stat().st_mode
    return f"{stat.S_IMODE(mode):04o}" if os.name == "posix" and mode & _OTHERS else None
