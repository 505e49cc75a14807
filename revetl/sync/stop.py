"""The reason why a guard stopped a run before it sent anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """The guard that stopped the run, and its message. Not every stop can be overridden."""

    guard: str
    message: str
    forceable: bool = True
