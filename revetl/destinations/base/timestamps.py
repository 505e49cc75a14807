"""Moments as numbers, for tools that take no ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MICROSECONDS, MILLISECONDS = timedelta(microseconds=1), timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(text: str) -> datetime:
    """A moment of ISO 8601; one that names no zone is in UTC."""
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def since_epoch(text: str, unit: timedelta) -> int:
    """How many whole units a moment of ISO 8601 is after the beginning of 1970."""
    return (moment_of(text) - _EPOCH) // unit


def too_old(moment: str | None, at: str | None, longest: timedelta, tool: str) -> str | None:
    """Why an event of `moment` cannot be sent `at` a moment to a tool that takes none older than `longest`;
    None when it can."""
    if not moment or not at or moment_of(at) - moment_of(moment) <= longest:
        return None
    words = f"{longest.days} days" if longest.days > 3 else f"{longest // timedelta(hours=1)} hours"
    return f"it happened at {moment}, and {tool} takes what is {words} old at most"
