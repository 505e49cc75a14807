"""Parse amounts in configuration: fractions, durations, counts and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

_UNITS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_EXACT = 2**53
"""Above this, a double, and therefore a JSON number, can't represent every integer."""


def finite(value: object) -> float | None:
    """Parse a number or numeric text; None for anything else, including NaN and values outside a double."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def plain(number: float) -> int | float:
    """Return an integral number as an int, if a double represents it exactly."""
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def share(value: object) -> float:
    """Parse `10%` or `0.1` as a fraction of one. Raises ValueError for anything else: a number of more than 1
    is a percentage without its sign."""
    is_percentage = isinstance(value, str) and value.strip().endswith("%")
    number = finite(str(value).strip().removesuffix("%"))
    if number is None or isinstance(value, bool):
        raise ValueError(f"'{value}' is not a valid fraction; use 10% or 0.1")
    if number < 0:
        raise ValueError(f"'{value}' is less than nothing; use a share from 0 to 1, such as 0.1, or 10%")
    if number > 1 and not is_percentage:
        raise ValueError(
            f"'{value}' is more than 1, which is everybody; use {number:g}%, or a share from 0 to 1"
        )
    return number / 100 if is_percentage else number


def seconds(value: object) -> float:
    """Parse a duration in minutes, hours, days or weeks as seconds. Raises ValueError for anything else."""
    number, _, unit = str(value).partition(" ")
    try:
        return float(number) * _UNITS[unit.strip().removesuffix("s")]
    except (KeyError, ValueError):
        raise ValueError(f"'{value}' is not a valid duration; use a form like '36 hours'") from None


@dataclass(frozen=True)
class Amount:
    """A count (`100`), a fraction (`10%`) or a duration (`6 hours`); `unit` is count, share or seconds."""

    value: float
    unit: str
    text: str

    def __str__(self) -> str:
        return self.text


def amount(value: object) -> Amount:
    """Parse an amount. Raises ValueError for anything else."""
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
