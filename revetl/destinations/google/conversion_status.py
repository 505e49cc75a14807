"""What became of a request to the Data Manager API, which says how many events failed and not which:
docs/destinations/google_conversions.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from revetl.destinations.base.flow import NotUnderstood
from revetl.destinations.base.records import Rejection, for_now

PROCESSING = ("PROCESSING", "REQUEST_STATUS_UNKNOWN")
ENDED = ("SUCCESS", "PARTIAL_SUCCESS", "FAILED")
PREFIXES = ("PROCESSING_ERROR_REASON_", "PROCESSING_ERROR_")
FOR_NOW = frozenset({"INTERNAL_ERROR", "TOO_RECENT_CLICK"})
"""Reasons that are over soon."""


@dataclass(frozen=True)
class Outcome:
    """Whether all events of a request failed, and how many for which reason."""

    failed: bool
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def rejection(self) -> Rejection:
        """Why each was not recorded, where all failed."""
        reasons = ", ".join(self.counts) or "no reason is given"
        words = f"Google could not record it: {reasons}"
        if self.counts and self.counts.keys() <= FOR_NOW:
            return for_now(words)
        return Rejection(words)


def is_processed(response: httpx.Response) -> bool:
    """Whether every destination of the request has an outcome."""
    return all(each["requestStatus"] not in PROCESSING for each in _statuses(response))


def outcomes_of(response: httpx.Response, count: int) -> list[Outcome]:
    """The outcomes of a request that was processed, for each of its `count` destinations in order. Raises
    NotUnderstood for an answer of another number, or a status that is not known."""
    statuses = _statuses(response)
    if len(statuses) != count:
        raise NotUnderstood(f"it has the status of {len(statuses)} destinations of {count}")
    return [_outcome(each) for each in statuses]


def _outcome(status: Mapping[str, Any]) -> Outcome:
    if status["requestStatus"] not in ENDED:
        raise NotUnderstood(f"the request has the status {status['requestStatus']}")
    counts: dict[str, int] = {}
    for error in status.get("errorInfo", {}).get("errorCounts", []):
        reason = _short(str(error.get("reason", "UNSPECIFIED")))
        # 64-bit numbers are texts in its JSON.
        counts[reason] = counts.get(reason, 0) + int(error.get("recordCount", 1))
    if status["requestStatus"] == "PARTIAL_SUCCESS" and not counts:
        counts["UNSPECIFIED"] = 1
    return Outcome(status["requestStatus"] == "FAILED", counts)


def _statuses(response: httpx.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response.json()["requestStatusPerDestination"]
    return found


def _short(reason: str) -> str:
    return next((reason.removeprefix(each) for each in PREFIXES if reason.startswith(each)), reason)
