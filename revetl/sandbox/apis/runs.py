"""What played tools share whose syncs are triggered: runs that are under way when they are first asked for,
and over the next time. A sync whose id a `reject` rule matches fails for its reason; where the reason begins
with `rows`, it is done with some of them rejected."""

from __future__ import annotations

from typing import Any

from revetl.sandbox.apis.base import refusing
from revetl.sandbox.rules import Rule
from revetl.sandbox.store import Held

UNKNOWN = "unknown"
"""The id of a sync that is not there."""


def begin(held: Held, sync: str, rejecting: list[Rule], **about: Any) -> str:
    """Begin a run of a sync, and give its id, a number."""
    reason = refusing(rejecting, sync)
    held.new_job(sync=sync, asked=0, reason=reason, **about)
    return str(len(held.jobs))


def run_of(held: Held, run: str) -> dict[str, Any] | None:
    """A run by its id; None where there is none."""
    return held.jobs.get(f"job-{run}")


def is_over(run: dict[str, Any]) -> bool:
    """Whether a run is over, which it is the second time that it is asked for."""
    return bool(run["asked"] > 1)


def look(held: Held, run: str) -> dict[str, Any]:
    """Ask for a run, which goes on meanwhile."""
    found = held.jobs[f"job-{run}"]
    found["asked"] += 1
    return found


def runs_of(held: Held, sync: str) -> list[str]:
    """The ids of a sync's runs, the newest first."""
    return [name.removeprefix("job-") for name, run in reversed(held.jobs.items()) if run["sync"] == sync]


def is_busy(held: Held, sync: str) -> bool:
    """Whether a run of a sync is under way."""
    return any(not is_over(held.jobs[f"job-{run}"]) for run in runs_of(held, sync))


def failure(run: dict[str, Any]) -> str | None:
    """Why a run failed; None where it did not."""
    reason: str | None = run["reason"]
    return None if reason is None or reason.startswith("rows") else reason


def rejected(run: dict[str, Any]) -> int:
    """How many rows were not taken."""
    return 3 if str(run["reason"]).startswith("rows") else 0
