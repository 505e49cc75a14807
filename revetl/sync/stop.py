"""A stop: why nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """A guard that judged the change implausible, and why. Not every stop can be overridden."""

    guard: str
    message: str
    forceable: bool = True
