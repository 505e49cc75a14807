"""What is asked of a sync: the command line's options, in its words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SyncOptions:
    """What the command line asks of a run, in its words. `expected` is the digest of the plan that the run
    has to be."""

    full_refresh: bool = False
    retry: bool = False
    force: tuple[str, ...] = ()
    expected: str | None = None
    expected_at: datetime | None = None
    """When the plan of `expected` was made."""
    is_compared: bool = False
    """Whether the state says what was just read of the destination."""
    only: str | None = None
    """The one member to send, by key or any identifier."""
    only_keys: tuple[str, ...] = ()
    """The keys that the identity graph has for `only`."""


def forced_by(options: SyncOptions) -> tuple[str, ...]:
    """The guards that the options override: a full refresh needs no state, and a compared one is not lost."""
    needs_none = (options.full_refresh and options.only is None) or options.is_compared
    return (*options.force, "lost_state") if needs_none else options.force
