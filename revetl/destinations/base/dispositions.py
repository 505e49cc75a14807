"""What a response's status means for the batch that got it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Verdict(Enum):
    """What a status means for the batch that got it."""

    PASS = "the connector reads the response"  # noqa: S105
    RETRY = "send the same again, later"
    LIMITED = "too much for now, and no fault: send the same again, later"
    SPLIT = "too large: send each half"
    BISECT = "a record in it is bad: halve down to the one, and reject it"
    FATAL = "nothing will be accepted: stop the run"


def verdict(status: int, own: Mapping[int, Verdict]) -> Verdict:
    """The one table of statuses; a connector's own entries go before it."""
    if status in own:
        return own[status]
    if status < 300:
        return Verdict.PASS
    if status in {408, 425, 429} or status >= 500:
        return Verdict.RETRY
    if status == 413:
        return Verdict.SPLIT
    if status in {400, 409, 422}:
        return Verdict.BISECT
    return Verdict.FATAL
