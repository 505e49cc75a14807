"""The options of a sync run, as given on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SyncOptions:
    """Options of a run. `expected` is the digest of the plan that the run must match."""

    full_refresh: bool = False
    retry: bool = False
    force: tuple[str, ...] = ()
    expected: str | None = None
    expected_at: datetime | None = None
    """When the `expected` plan was made."""
    is_compared: bool = False
    """Whether the state was just reconciled with the destination's data."""
    only: str | None = None
    """The one member to send, by key or any identifier."""
    only_keys: tuple[str, ...] = ()
    """The keys of `only` in the identity graph."""


def forced_by(options: SyncOptions) -> tuple[str, ...]:
    """Return the overridden guards. `lost_state` is overridden by a full refresh, which needs no state, and
    by a reconciled state."""
    needs_none = (options.full_refresh and options.only is None) or options.is_compared
    return (*options.force, "lost_state") if needs_none else options.force
