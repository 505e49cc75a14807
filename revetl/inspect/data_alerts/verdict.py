"""Evaluates a measured value against a check's thresholds. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

from revetl.config.data_alerts import DataCheck


@dataclass(frozen=True)
class Measurement:
    """A value of one subject. `unit` is count, share or seconds; `total` is the total that a count belongs
    to, if a share can be computed; `before` are the values of earlier builds; `names` are the counted items,
    if there are few; `note` is additional text. A None value is unknown."""

    subject: str
    value: float | None
    unit: str = "count"
    total: float | None = None
    before: tuple[float, ...] = ()
    current: float | None = None
    names: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Assessment:
    """Whether a check alerts, and a sentence with the reason or the normal value."""

    is_alerting: bool
    sentence: str


def judge(check: DataCheck, found: Measurement) -> Assessment:
    """Evaluate a value. A missing value (nothing to divide by, no builds to compare with) doesn't alert,
    except for freshness, where it means that nothing was ever seen."""
    reasons = [*_absolute(check, found), *_relative(check, found)]
    if reasons:
        return Assessment(True, "; ".join(reasons) + (f". {found.note}" if found.note else ""))
    return Assessment(False, _shown(found) + (f". {found.note}" if found.note else ""))


def _absolute(check: DataCheck, found: Measurement) -> list[str]:
    if found.unit == "seconds" and found.value is None:
        return ["nothing was ever seen"]
    reasons = []
    above, below = check.above, check.below
    if check.check == "new_events" and above is None:
        return [_shown(found)] if found.value else []
    if above is not None:
        value, shown = found.value, _shown(found)
        if above.unit == "share" and found.unit == "count":
            value = found.value / found.total if found.total and found.value is not None else None
            shown = f"{value or 0:.1%} ({shown} of {found.total or 0:,.0f})"
        if value is not None and _exceeds(value, above.value):
            reasons.append(f"{shown}, above {above}")
    if below is not None and found.value is not None and _exceeds(below.value, found.value):
        reasons.append(f"{_shown(found)}, below {below}")
    return reasons


def _relative(check: DataCheck, found: Measurement) -> list[str]:
    value = found.value if found.current is None else found.current
    if not check.is_relative or not found.before or value is None:
        return []
    usual = sum(found.before) / len(found.before)
    builds = f"the mean of the previous {len(found.before)} build{'' if len(found.before) == 1 else 's'}"
    if usual <= 0:
        is_rise = check.rise is not None and value > 0
        return [f"{_number(value)}, after {builds} was zero"] if is_rise else []
    change = value / usual - 1
    compared = f"{_number(value)} compared with {_number(usual)}, {builds}"
    if check.drop is not None and _exceeds(-change, check.drop):
        return [f"{-change:.0%} less ({compared})"]
    if check.rise is not None and _exceeds(change, check.rise):
        return [f"{change:.0%} more ({compared})"]
    return []


def _exceeds(value: float, threshold: float) -> bool:
    """Whether a value is beyond a threshold, ignoring rounding errors."""
    return value > threshold and not math.isclose(value, threshold, rel_tol=1e-9)


def _shown(found: Measurement) -> str:
    if found.value is None:
        return "no value"
    if found.unit == "share":
        return f"{found.value:.1%}"
    if found.unit == "seconds":
        return f"{found.value / 3_600:,.1f} hours"
    names = f": {', '.join(found.names)}" if found.names else ""
    return f"{found.value:,.0f}{names}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2g}"
