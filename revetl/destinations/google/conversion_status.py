"""The outcome of a Data Manager API request, which reports how many events failed but not which ones:
docs/destinations/google_conversions.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from revetl.destinations.base.flow import AnswerNotUnderstood
from revetl.destinations.base.records import Rejection, for_now

PROCESSING = ("PROCESSING", "REQUEST_STATUS_UNKNOWN")
ENDED = ("SUCCESS", "PARTIAL_SUCCESS", "FAILED")
PREFIXES = ("PROCESSING_ERROR_REASON_", "PROCESSING_ERROR_")
FOR_NOW = frozenset({"INTERNAL_ERROR", "TOO_RECENT_CLICK"})
"""Reasons that are temporary."""


@dataclass(frozen=True)
class RequestStatus:
    """Whether all events of a request failed, and the counts by reason."""

    failed: bool
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def rejection(self) -> Rejection:
        """Return the rejection of each event when all failed."""
        reasons = ", ".join(self.counts) or "no reason given"
        words = f"Google could not record it: {reasons}"
        if self.counts and self.counts.keys() <= FOR_NOW:
            return for_now(words)
        return Rejection(words)


def is_processed(response: httpx.Response) -> bool:
    """Whether every destination of the request has an outcome."""
    return all(each["requestStatus"] not in PROCESSING for each in _statuses(response))


def outcomes_of(response: httpx.Response, count: int) -> list[RequestStatus]:
    """Return the outcomes of a processed request, for each of its `count` destinations in order. Raises
    NotUnderstood if their number differs, or a status is unknown."""
    statuses = _statuses(response)
    if len(statuses) != count:
        raise AnswerNotUnderstood(
            f"the response has the status of {len(statuses)} destinations instead of {count}"
        )
    return [_outcome(each) for each in statuses]


def _outcome(status: Mapping[str, Any]) -> RequestStatus:
    if status["requestStatus"] not in ENDED:
        raise AnswerNotUnderstood(f"the request has the unknown status {status['requestStatus']}")
    counts: dict[str, int] = {}
    for error in status.get("errorInfo", {}).get("errorCounts", []):
        reason = _short(str(error.get("reason", "UNSPECIFIED")))
        # JSON represents 64-bit integers as text.
        counts[reason] = counts.get(reason, 0) + int(error.get("recordCount", 1))
    if status["requestStatus"] == "PARTIAL_SUCCESS" and not counts:
        counts["UNSPECIFIED"] = 1
    return RequestStatus(status["requestStatus"] == "FAILED", counts)


def _statuses(response: httpx.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response.json()["requestStatusPerDestination"]
    return found


def _short(reason: str) -> str:
    return next((reason.removeprefix(each) for each in PREFIXES if reason.startswith(each)), reason)
