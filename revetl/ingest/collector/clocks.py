"""Correct timestamps for the clock of the sender.

Segment's rule is `timestamp = receivedAt - (sentAt - originalTimestamp)`. Two kinds of timestamps are exempt:
those of a sender whose clock is right, so that they are stored exactly as sent, and those that the caller
gave, such as a backfill's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from revetl.ingest.rules import ISO_8601, SPACES

TOLERANCE = timedelta(seconds=5)
"""A smaller difference between `sentAt` and the arrival is the time on the network, not a wrong clock."""
_AHEAD = timedelta(seconds=60)
_HOUR = 3_600
_SLACK = 90
_ISO_8601 = re.compile(ISO_8601)
_PYTHON_FORM = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3}|\.\d{6})?Z")
_LAST_MIDNIGHT = re.compile(r".{10}T24:00(:00(\.0+)?)?(Z|[+-].*)?$")
_EARLIEST, _LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)


@dataclass(frozen=True)
class MessageTimes:
    """The times of a message as they are stored. `ahead_seconds` is how far the event is ahead of its
    arrival, if it is; `is_whole_hours`: by whole hours, as if a time zone were missing."""

    timestamp: str
    original: str | None
    ahead_seconds: int | None = None

    @property
    def is_whole_hours(self) -> bool:
        if self.ahead_seconds is None:
            return False
        rest = self.ahead_seconds % _HOUR
        return self.ahead_seconds > _HOUR - _SLACK and min(rest, _HOUR - rest) <= _SLACK


def parse_time(value: object) -> datetime | None:
    """Parse an ISO 8601 time as loading does: without a zone it is in UTC. None for anything else."""
    return _parsed(value) if isinstance(value, str) else None


@lru_cache(4_096)
def _parsed(value: str) -> datetime | None:
    text = value.strip(SPACES)
    if not _ISO_8601.match(text) or text.endswith("\n"):
        return None
    form = _python_form(text)
    is_midnight = _LAST_MIDNIGHT.match(form) is not None
    try:
        found = datetime.fromisoformat(form.replace("T24:", "T00:", 1) if is_midnight else form)
        found += timedelta(days=is_midnight)
    except (ValueError, OverflowError):
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return min(max(found, _EARLIEST), _LATEST)


def _python_form(text: str) -> str:
    """Return an ISO 8601 time in the form that Python parses: at most six decimals, no space before the
    zone."""
    if _PYTHON_FORM.fullmatch(text):
        return text
    text = text.replace("z", "Z")
    head, point, tail = text.partition(".")
    if point:
        digits = re.match(r"\d+", tail)
        assert digits is not None
        tail = digits[0][:6] + tail[digits.end() :]
    form = head + point + tail
    return form[:10] + ("T" + form[11:].replace(" ", "") if form[10:] else "")


def iso(moment: datetime) -> str:
    """Format a moment in UTC as the raw tables' loading reads it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def message_times(
    message: Mapping[str, Any], sent_at: datetime | None, received_at: datetime, *, is_import: bool = False
) -> MessageTimes:
    """Return the times of a message whose times are valid. `sent_at` is the message's own or its batch's."""
    given, original = parse_time(message.get("timestamp")), parse_time(message.get("originalTimestamp"))
    happened = given or original
    skew = timedelta(0) if sent_at is None else received_at - sent_at
    if abs(skew) < TOLERANCE:
        skew = timedelta(0)
    if happened is None:
        return MessageTimes(iso(received_at), None)
    is_callers = given is not None and original is not None and abs(given - original) > TOLERANCE
    if is_import or is_callers:
        skew = timedelta(0)
    moment = min(max(happened + skew, _EARLIEST), _LATEST)
    ahead = moment - received_at
    return MessageTimes(
        iso(moment),
        iso(original or happened),
        int(ahead.total_seconds()) if ahead > _AHEAD else None,
    )
