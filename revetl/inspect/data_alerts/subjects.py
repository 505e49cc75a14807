"""Which sources, audiences and syncs a check is about."""

from __future__ import annotations

from fnmatch import fnmatchcase

NO_SOURCE = "(no source)"
"""What messages without a source are called; patterns match it too."""


def matches(pattern: str | None, name: str | None) -> bool:
    """Whether a name is asked for; without a pattern any is."""
    return pattern is None or fnmatchcase(name or NO_SOURCE, pattern)


def is_plain(pattern: str | None) -> bool:
    """Whether a pattern is a name, and so is about something whether or not it was ever seen."""
    return pattern is not None and not any(character in pattern for character in "*?[")
