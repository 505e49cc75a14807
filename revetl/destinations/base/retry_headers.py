"""When to send more, according to a response: `Retry-After`, and headers of an exhausted rate limit."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

_QUOTA = re.compile(r"((?:x-)?rate-?limit)(?:-(remaining|reset))?")
_NO_MORE = re.compile(r"\b(?:r|remaining)\s*=\s*0+\b")
_UNTIL = re.compile(r"\b(?:t|reset)\s*=\s*(\d+)")
_EPOCH = 100_000_000
_EPOCH_MILLISECONDS = 100_000_000_000


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds in a `Retry-After` header, given as seconds or as a date (RFC 9110, section
    10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    until = _date(value)
    return None if until is None else max(0.0, until - _now(headers))


def quota_wait(headers: httpx.Headers) -> float | None:
    """Return the seconds until the rate limit resets, if a response says that it is exhausted; otherwise
    None.

    Supports `X-RateLimit-Remaining` and `-Reset` (also spelled `X-Rate-Limit-` and, as in early IETF drafts,
    `RateLimit-`), and the IETF's `RateLimit` field, old (`limit=10, remaining=0, reset=5`) and new
    (`"default";r=0;t=5`). A reset is seconds from now, or seconds or milliseconds since 1970, distinguished
    by size. Absolute times are compared with the server's `Date`.
    """
    told: dict[str, dict[str, str]] = {}
    for raw_name, raw_value in headers.raw:
        name = raw_name.decode("latin-1").lower()
        if "limit" in name and (match := _QUOTA.fullmatch(name)):
            told.setdefault(match[1], {})[match[2] or "both"] = raw_value.decode("latin-1")
    waits = [wait for fields in told.values() for wait in _waits(fields, headers) if wait > 0]
    return max(waits, default=None)


def _waits(fields: dict[str, str], headers: httpx.Headers) -> list[float]:
    waits = []
    with contextlib.suppress(KeyError, ValueError):
        if float(fields["remaining"]) <= 0:
            waits.append(_seconds(float(fields["reset"]), headers))
    both = fields.get("both", "")
    # The new format lists one policy per item; the old one is a single policy with commas in it.
    policies = both.split(",") if ";" in both else [both]
    empty = (_UNTIL.search(policy) for policy in policies if _NO_MORE.search(policy))
    return waits + [_seconds(float(until[1]), headers) for until in empty if until]


def _seconds(reset: float, headers: httpx.Headers) -> float:
    if not math.isfinite(reset) or reset < _EPOCH:
        return reset if math.isfinite(reset) else 0.0
    return (reset / 1_000 if reset >= _EPOCH_MILLISECONDS else reset) - _now(headers)


def _now(headers: httpx.Headers) -> float:
    told = _date(headers.get("date", ""))
    return datetime.now(UTC).timestamp() if told is None else told


def _date(value: str) -> float | None:
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value).timestamp()
    return None
