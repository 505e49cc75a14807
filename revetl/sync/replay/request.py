"""What a replay is asked to send."""

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
"""Types of messages, by their Segment call."""
DEFAULT_MAPPING = "default"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class ReplayRequest:
    """The messages to send, and where to: `types` of messages, of `sources`, from `since` to before `until`
    (in UTC; None for all there are), whose event name matches one of the patterns `events`, for which `where`
    is true, of the members of the audience `people`. `mapping` is the audience whose sync maps the events,
    or `default`."""

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
        """The same, with the end of its window: now, if none was given."""
        return self if self.until is not None else replace(self, until=leases.now())

    @property
    def text(self) -> str:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @property
    def digest(self) -> str:
        """What names it."""
        return digest(self.text)

    @classmethod
    def read(cls, text: str) -> ReplayRequest:
        """The request in a text."""
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
    """Check what is asked for. Raises UsageError for an unknown type of message, and for a window that is
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
    """A date or time as UTC without a zone. As an end, a date includes its day."""
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
    """The hours of the day, in UTC, in which a replay may send; they may span midnight."""

    start: time
    end: time

    @classmethod
    def read(cls, text: str) -> Hours:
        """Hours written as 01:00-05:00. Raises UsageError."""
        first, _, last = text.partition("-")
        if not (_CLOCK.fullmatch(first) and _CLOCK.fullmatch(last)) or first == last:
            raise UsageError(
                f"--between {text}: is not a span of hours. Use a form like 01:00-05:00, in UTC."
            )
        return cls(time.fromisoformat(first), time.fromisoformat(last))

    def has(self, moment: datetime) -> bool:
        """Whether a moment in UTC is within them."""
        at = moment.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def seconds_until(self, moment: datetime) -> float:
        """The seconds from a moment outside of them until they begin."""
        start = datetime.combine(moment.date(), self.start)
        return (start - moment).total_seconds() % 86_400

    @property
    def text(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"
