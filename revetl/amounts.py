"""Amounts as people write them: shares, times and counts."""

from __future__ import annotations

from dataclasses import dataclass

_UNITS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}


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
