"""Timestamps as numbers, for APIs that don't accept ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MICROSECONDS, MILLISECONDS = timedelta(microseconds=1), timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(text: str) -> datetime:
    """Parse an ISO 8601 timestamp; without a time zone, it is in UTC."""
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def since_epoch(text: str, unit: timedelta) -> int:
    """Return the whole units between 1970 and an ISO 8601 timestamp."""
    return (moment_of(text) - _EPOCH) // unit


def too_old(moment: str | None, at: str | None, longest: timedelta, tool: str) -> str | None:
    """Explain why an event at `moment` can't be sent at time `at` to a tool that accepts events up to
    `longest` old; None if it can."""
    if not moment or not at or moment_of(at) - moment_of(moment) <= longest:
        return None
    words = f"{longest.days} days" if longest.days > 3 else f"{longest // timedelta(hours=1)} hours"
    return f"it happened at {moment}, and {tool} only accepts events up to {words} old"
