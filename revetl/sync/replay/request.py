"""The request of a replay: which messages to send, and where."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import orjson

from revetl.destinations.base.records import digest
from revetl.errors import UsageError, nearest
from revetl.sync.state import leases

EVENTS = ("track", "page", "screen")
TYPES = (*EVENTS, "identify", "group")
"""Message types, by Segment call."""
DEFAULT_MAPPING = "default"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class ReplayRequest:
    """The messages to send, and the destination.

    Selects messages of `types`, from `sources`, from `since` up to but excluding `until` (UTC; None for no
    limit), whose event name matches one of the patterns `events`, for which `where` is true, and whose person
    is in the audience `people`. `mapping` is the audience whose sync maps the events, or `default`.
    """

    to: str
    types: tuple[str, ...] = EVENTS
    sources: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    events: tuple[str, ...] = ()
    where: str | None = None
    people: str | None = None
    mapping: str | None = None

    def fixed(self) -> ReplayRequest:
        """Return the request with a fixed end of its window: now, if none was given."""
        return self if self.until is not None else replace(self, until=leases.now())

    @property
    def text(self) -> str:
        """The request as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @property
    def digest(self) -> str:
        """The digest of the request."""
        return digest(self.text)

    @classmethod
    def read(cls, text: str) -> ReplayRequest:
        """Read a request from JSON."""
        given: dict[str, Any] = orjson.loads(text)
        for name in ("types", "sources", "events"):
            given[name] = tuple(given[name])
        for name in ("since", "until"):
            given[name] = None if given[name] is None else datetime.fromisoformat(given[name])
        return cls(**given)


def make_request(
    to: str,
    *,
    types: tuple[str, ...] = EVENTS,
    sources: tuple[str, ...] = (),
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    events: tuple[str, ...] = (),
    where: str | None = None,
    people: str | None = None,
    mapping: str | None = None,
) -> ReplayRequest:
    """Validate options and make a request. Raises UsageError for an unknown message type, or a window that is
    empty or in the future."""
    for name in types:
        if name not in TYPES:
            raise UsageError(f"--as {name}: there is no such type of message. {nearest(name, TYPES)}")
    start = _moment(since, "--from")
    end = _moment(until, "--until", is_end=True)
    now = leases.now()
    if start is not None and start > now:
        raise UsageError(f"--from {since}: the window is in the future, where there are no events yet.")
    if start is not None and end is not None and start >= end:
        raise UsageError(f"--from {since} --until {until}: the window is empty; --until must be later.")
    return ReplayRequest(to, tuple(dict.fromkeys(types)), sources, start, end, events, where, people, mapping)


def _moment(given: str | datetime | None, option: str, *, is_end: bool = False) -> datetime | None:
    """Return a date or time as UTC without a time zone. An end date includes its whole day."""
    if given is None:
        return None
    text = given if isinstance(given, str) else given.isoformat()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: is not a date or time. Use a form like 2026-01-31 or 2026-01-31T12:00:00."
        ) from None
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return found + timedelta(days=1) if is_end and _DAY.fullmatch(text) else found


@dataclass(frozen=True)
class Hours:
    """The hours of the day (UTC) in which a replay may send. They may span midnight."""

    start: time
    end: time

    @classmethod
    def read(cls, text: str) -> Hours:
        """Read hours such as 01:00-05:00. Raises UsageError if invalid."""
        first, _, last = text.partition("-")
        if not (_CLOCK.fullmatch(first) and _CLOCK.fullmatch(last)) or first == last:
            raise UsageError(
                f"--between {text}: is not a span of hours. Use a form like 01:00-05:00, in UTC."
            )
        return cls(time.fromisoformat(first), time.fromisoformat(last))

    def has(self, moment: datetime) -> bool:
        """Test whether a time (UTC) is within the hours."""
        at = moment.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def seconds_until(self, moment: datetime) -> float:
        """Return the seconds from a time outside the hours until they begin."""
        start = datetime.combine(moment.date(), self.start)
        return (start - moment).total_seconds() % 86_400

    @property
    def text(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"
