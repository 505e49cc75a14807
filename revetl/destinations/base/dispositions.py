"""Dispositions: what a response's status means for its batch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Disposition(Enum):
    """What a status means for its batch."""

    PASS = "the connector reads the response"  # noqa: S105
    RETRY = "retry the same batch later"
    LIMITED = "rate limited, not an error: retry the same batch later"
    SPLIT = "too large: send each half separately"
    BISECT = "contains a bad record: bisect to find and reject it"
    FATAL = "nothing will be accepted: stop the run"


def verdict(status: int, own: Mapping[int, Disposition]) -> Disposition:
    """Return the disposition of a status; a connector's own entries take precedence."""
    if status in own:
        return own[status]
    if status < 300:
        return Disposition.PASS
    if status in {408, 425, 429} or status >= 500:
        return Disposition.RETRY
    if status == 413:
        return Disposition.SPLIT
    if status in {400, 409, 422}:
        return Disposition.BISECT
    return Disposition.FATAL
