"""Amounts as people write them: shares, times, counts and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

_UNITS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_EXACT = 2**53
"""From here on doubles are not every whole number, and JSON has them as doubles only."""


def finite(value: object) -> float | None:
    """A number, also of a text; None for what is none, such as `NaN` or more than a double has."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def plain(number: float) -> int | float:
    """A whole number as an integer, where a double has it exactly."""
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def share(value: object) -> float:
    """`10%` or `0.1` as a share of one. Raises ValueError for what is none."""
    try:
        found = float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"'{value}' is no share; write 10% or 0.1") from None
    return found


def seconds(value: object) -> float:
    """`36 hours` as seconds: minutes, hours, days or weeks. Raises ValueError for what is none."""
    number, _, unit = str(value).partition(" ")
    try:
        return float(number) * _UNITS[unit.strip().removesuffix("s")]
    except (KeyError, ValueError):
        raise ValueError(f"'{value}' is no time; write such as '36 hours'") from None


@dataclass(frozen=True)
class Amount:
    """A count (`100`), a share (`10%`) or a time (`6 hours`), as `unit` says: count, share or seconds."""

    value: float
    unit: str
    text: str

    def __str__(self) -> str:
        return self.text


def amount(value: object) -> Amount:
    """An amount as it is written. Raises ValueError for what is none."""
    text = str(value).strip()
    if isinstance(value, bool):
        raise ValueError(f"'{value}' is not an amount; use 100, 10% or '6 hours'")
    try:
        if text.endswith("%"):
            return Amount(share(text), "share", text)
        if " " in text:
            return Amount(seconds(text), "seconds", text)
        return Amount(float(text), "count", text)
    except ValueError:
        raise ValueError(f"'{value}' is not an amount; use 100, 10% or '6 hours'") from None
