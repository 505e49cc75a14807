"""Data checks: `data:` of an alert in revetl.yml. docs/how-to/alerts.md documents the keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from revetl.config.amounts import (
    Amount,
    amount,
    seconds,
    share,
)
from revetl.config.base import ConfigModel

CheckKind = Literal["violations", "volume", "new_events", "audience_size", "churn", "unmatched", "freshness"]
CHECK_KINDS: tuple[str, ...] = get_args(CheckKind)
DAY = 86_400.0


@dataclass(frozen=True)
class _Kind:
    """The keys a kind of check accepts: subjects, thresholds with their units, and others."""

    subjects: tuple[str, ...]
    thresholds: dict[str, tuple[str, ...]]
    more: tuple[str, ...] = ()


_COUNT, _SHARE = ("count",), ("share",)
_KINDS: dict[str, _Kind] = {
    "violations": _Kind(("source", "event"), {"above": ("count", "share")}, ("within",)),
    "volume": _Kind(
        ("source", "event"),
        {"above": _COUNT, "below": _COUNT, "drop": _SHARE, "rise": _SHARE},
        ("within", "builds"),
    ),
    "new_events": _Kind(("source",), {"above": _COUNT}, ("within",)),
    "audience_size": _Kind(
        ("audience",), {"above": _COUNT, "below": _COUNT, "drop": _SHARE, "rise": _SHARE}, ("builds",)
    ),
    "churn": _Kind(("audience",), {"above": ("count", "share"), "rise": _SHARE}, ("builds",)),
    "unmatched": _Kind(("source", "sync"), {"above": _SHARE}, ("within",)),
    "freshness": _Kind(("source", "audience"), {"above": ("seconds",)}),
}
_EXAMPLES = {"count": "100", "share": "10%", "seconds": "'6 hours'"}
_RELATIVE = ("drop", "rise")
_Threshold = Annotated[Amount, BeforeValidator(amount)]
_Relative = Annotated[float, BeforeValidator(share), Field(gt=0)]


class DataCheck(ConfigModel):
    """One check. `source`, `event`, `audience` and `sync` are patterns with `*` and `?`; each matching
    subject is evaluated separately. `drop` and `rise` compare with the mean of the `builds` builds before
    the last."""

    check: CheckKind
    """What is measured."""
    name: str | None = None
    """A name for the check, used in notifications."""
    source: str | None = None
    """Sources of messages to check, each by itself."""
    event: str | None = None
    """Events to check, each by itself."""
    audience: str | None = None
    """Audiences to check, each by itself."""
    sync: str | None = None
    """Syncs to check, each by itself."""
    above: _Threshold | None = None
    """Alert above this count, share or time."""
    below: _Threshold | None = None
    """Alert below this count."""
    drop: _Relative | None = None
    """Alert when it is this share below the mean of the previous builds."""
    rise: _Relative | None = None
    """Alert when it is this share above the mean of the previous builds."""
    within: Annotated[float, BeforeValidator(seconds), Field(gt=0)] = DAY
    """The time span that is measured."""
    builds: Annotated[int, Field(ge=1, le=1_000)] = 7
    """How many previous builds the mean is of."""

    @model_validator(mode="after")
    def _says_what_its_kind_has(self) -> DataCheck:
        if wrong := [*self._misplaced(), *self._wrong_units(), *self._missing()]:
            raise ValueError("\n".join(wrong))
        return self

    def _misplaced(self) -> list[str]:
        kind = _KINDS[self.check]
        allowed = {"check", "name", *kind.subjects, *kind.thresholds, *kind.more}
        valid = ", ".join(name for name in (*kind.subjects, *kind.thresholds, *kind.more))
        return [
            f"{key}: is not valid for '{self.check}', which accepts {valid}"
            for key in sorted(self.model_fields_set - allowed)
        ]

    def _wrong_units(self) -> list[str]:
        kind = _KINDS[self.check]
        return [
            f"{key}: '{given}' has the wrong unit; use for example "
            f"{' or '.join(_EXAMPLES[unit] for unit in units)}"
            for key, units in kind.thresholds.items()
            if key not in _RELATIVE and (given := getattr(self, key)) is not None and given.unit not in units
        ]

    def _missing(self) -> list[str]:
        kind = _KINDS[self.check]
        if self.check == "new_events":
            return []
        if not any(getattr(self, key) is not None for key in kind.thresholds):
            return [f"'{self.check}' requires a threshold: {' or '.join(kind.thresholds)}"]
        if self.check in ("unmatched", "freshness") and len(self._subjects) != 1:
            return [
                f"'{self.check}' requires either {' or '.join(kind.subjects)}, for example "
                f"{kind.subjects[0]}: '*'"
            ]
        return []

    @property
    def _subjects(self) -> dict[str, str]:
        keys = _KINDS[self.check].subjects
        return {key: pattern for key in keys if (pattern := getattr(self, key)) is not None}

    @property
    def is_relative(self) -> bool:
        """Whether it compares with earlier builds."""
        return self.drop is not None or self.rise is not None

    @property
    def key(self) -> str:
        """The key of its state: its name, or else its definition."""
        if self.name:
            return self.name
        parts: list[Any] = [self.check]
        parts += [f"{key} {pattern}" for key, pattern in self._subjects.items()]
        parts += [f"{key} {given}" for key in ("above", "below") if (given := getattr(self, key)) is not None]
        parts += [
            f"{key} {given:.0%} against {self.builds} builds"
            for key in _RELATIVE
            if (given := getattr(self, key)) is not None
        ]
        if "within" in self.model_fields_set:
            parts.append(f"within {self.within / 3_600:g} hours")
        return ", ".join(parts)
