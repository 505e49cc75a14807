"""Files readable only by their owner, replaced atomically."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; it is never readable by others. The caller must hold the file's lock,
    because leftovers of killed writers are removed. Raises OSError, leaving the file unchanged."""
    for left in path.parent.glob(f".{path.name}.*.new"):
        with suppress(OSError):
            left.unlink()
    # Not the process id: containers that share a folder may have the same ones.
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
        # The rename must reach the disk too: the provider has already revoked the former token.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can access, or restrict an existing one."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & _OTHERS:
        folder.chmod(0o700)


def readable_by_others(path: Path) -> str | None:
    """Return the mode, in `chmod` notation, of a file that others can access; None if they can't."""
    mode = path.stat().st_mode
    return f"{stat.S_IMODE(mode):04o}" if os.name == "posix" and mode & _OTHERS else None
