"""Shared by mock tools with triggered syncs: a run is in progress on the first status request and finished on
the second. A sync whose id matches a `reject` rule fails with its reason; if the reason starts with `rows`,
the run succeeds with some rows rejected."""

from __future__ import annotations

from typing import Any

from revetl.sandbox.apis.base import refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

UNKNOWN = "unknown"
"""The id of a nonexistent sync."""


def begin(held: HeldByDestination, sync: str, rejecting: list[MisbehaviorRule], **about: Any) -> str:
    """Start a run of a sync and return its id, a number."""
    reason = refusing(rejecting, sync)
    held.new_job(sync=sync, asked=0, reason=reason, **about)
    return str(len(held.jobs))


def run_of(held: HeldByDestination, run: str) -> dict[str, Any] | None:
    """Return a run by id; None if it doesn't exist."""
    return held.jobs.get(f"job-{run}")


def is_over(run: dict[str, Any]) -> bool:
    """Whether a run has finished, as of its second status request."""
    return bool(run["asked"] > 1)


def look(held: HeldByDestination, run: str) -> dict[str, Any]:
    """Return a run's state, counting the status request."""
    found = held.jobs[f"job-{run}"]
    found["asked"] += 1
    return found


def runs_of(held: HeldByDestination, sync: str) -> list[str]:
    """Return the ids of a sync's runs, newest first."""
    return [name.removeprefix("job-") for name, run in reversed(held.jobs.items()) if run["sync"] == sync]


def is_busy(held: HeldByDestination, sync: str) -> bool:
    """Whether a run of a sync is in progress."""
    return any(not is_over(held.jobs[f"job-{run}"]) for run in runs_of(held, sync))


def failure(run: dict[str, Any]) -> str | None:
    """Return why a run failed; None if it didn't."""
    reason: str | None = run["reason"]
    return None if reason is None or reason.startswith("rows") else reason


def rejected(run: dict[str, Any]) -> int:
    """Return the number of rejected rows."""
    return 3 if str(run["reason"]).startswith("rows") else 0
