"""The marker of a sync's last run, stored in the destination: the run id and its origin.

A warehouse restored from an older copy doesn't know the run, and the machine that ran it may be gone. A text
such as `revetl run 20260102T030405-0a1b2c3d of 0123456789abcdef`, in a file, a row or the description of a
list, survives both.
"""

from __future__ import annotations

import re

_MARK = re.compile(r"revetl run (\d{8}T\d{6}-[0-9a-f]{8}) of ([0-9a-f]{16})")


def mark_of(run_id: str, origin: str) -> str:
    """Return the marker of a run; `origin` identifies the sync and its state, as 16 hex digits."""
    return f"revetl run {run_id} of {origin}"


def run_in(text: str | None, origin: str) -> str | None:
    """Return the run id of the marker in a text; None if there is no marker, or one of another origin."""
    found = _MARK.search(text or "")
    return found[1] if found is not None and found[2] == origin else None


def with_mark(text: str, mark: str) -> str | None:
    """Return a description with its marker replaced; None for a user's description without a marker, which is
    left unchanged."""
    if not text.strip():
        return mark
    return _MARK.sub(mark, text, count=1) if _MARK.search(text) else None
