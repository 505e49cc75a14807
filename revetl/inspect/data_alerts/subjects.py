"""The sources, audiences and syncs that a check applies to."""

from __future__ import annotations

from fnmatch import fnmatchcase

NO_SOURCE = "(no source)"
"""The name for messages without a source; patterns match it too."""


def matches(pattern: str | None, name: str | None) -> bool:
    """Whether a name matches; without a pattern, any name does."""
    return pattern is None or fnmatchcase(name or NO_SOURCE, pattern)


def is_plain(pattern: str | None) -> bool:
    """Whether a pattern is a plain name, which is a subject even if it was never seen."""
    return pattern is not None and not any(character in pattern for character in "*?[")
