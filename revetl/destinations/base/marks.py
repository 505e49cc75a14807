"""The mark of a sync's last run, as a destination keeps it: which run it was, and whose.

A warehouse that was restored from an older copy does not know the run, and the machine that ran it may be
gone. A text such as `revetl run 20260102T030405-0a1b2c3d of 0123456789abcdef`, in a file, a row or the
description of a list, is what survives both.
"""

from __future__ import annotations

import re

_MARK = re.compile(r"revetl run (\d{8}T\d{6}-[0-9a-f]{8}) of ([0-9a-f]{16})")


def mark_of(run_id: str, origin: str) -> str:
    """The mark of a run; `origin` stands for the sync and its state, as 16 hex digits."""
    return f"revetl run {run_id} of {origin}"


def run_in(text: str | None, origin: str) -> str | None:
    """The run that a text has a mark of; None where it has none, or the mark is of another origin."""
    found = _MARK.search(text or "")
    return found[1] if found is not None and found[2] == origin else None


def with_mark(text: str, mark: str) -> str | None:
    """A description with a mark in the place of the one that it has; None for one that somebody wrote and
    has none, which is left alone."""
    if not text.strip():
        return mark
    return _MARK.sub(mark, text, count=1) if _MARK.search(text) else None
