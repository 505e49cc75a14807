"""The result of `revetl why`, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Person:
    """The person in question. `keys` are their values of the audience's key, empty if it doesn't identify
    them; `identities` are all values that identify them, by column."""

    asked: str
    found_by: str | None
    keys: tuple[str, ...]
    identities: Mapping[str, tuple[str, ...]]

    @property
    def is_resolved(self) -> bool:
        """Whether the identity models know them."""
        return self.found_by is not None


@dataclass(frozen=True)
class Condition:
    """A condition of a step, evaluated for the person. `holds` is None if it is null or wasn't analyzed;
    `note` says which. It is true for `true_of` of the person's `rows` rows; `holds` and `values` describe the
    row that satisfies the most conditions. `parts` are the conditions of a group, joined by `operator`."""

    kind: str
    text: str
    holds: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    true_of: int | None = None
    rows: int | None = None
    note: str | None = None
    operator: str | None = None
    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class TraceStep:
    """A CTE, a branch, a table, or the final select. `rows` is how many of the person's rows it returns, None
    if unknown; `reads` are its input steps and tables."""

    name: str
    rows: int | None
    reads: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    is_table: bool = False


@dataclass(frozen=True)
class Membership:
    """Whether the person is in the audience as built (`member`) and according to its current SQL (`by_query`,
    None if it wasn't analyzed); `reasons` explain their absence, the most immediate cause last."""

    member: bool
    by_query: bool | None
    reasons: tuple[str, ...]
    steps: tuple[TraceStep, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SentChange:
    """A change that was sent, or attempted."""

    run_id: str
    operation: str
    cause: str | None
    outcome: str
    reason: str | None
    changed_at: datetime


@dataclass(frozen=True)
class SyncVerdict:
    """The disposition of the person at one sync under one key. `verdict` is a single word, `sentence`
    explains it; `next_operation` is what the next run would send; `differs` maps fields to (the destination's
    value, the audience's value)."""

    sync: str
    key: str | None
    verdict: str
    sentence: str
    next_operation: str | None = None
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    held_since: datetime | None = None
    held_by_run: str | None = None
    history: tuple[SentChange, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldAt:
    """A destination that holds a person: what it last acknowledged, when, and to which run."""

    sync: str
    key: str
    since: datetime | None
    run_id: str | None


@dataclass(frozen=True)
class AudienceOfPerson:
    """An audience, whether the person is in it as built (`member`; None if it isn't built), and where the
    person is held. `found_by` is the kind of identifier that was given, None if the identity models don't
    know it."""

    audience: str
    key: str
    keys: tuple[str, ...]
    found_by: str | None
    member: bool | None
    held: tuple[HeldAt, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a person is or isn't in an audience, and the outcome at each destination."""

    audience: str
    key: str
    person: Person
    membership: Membership
    delivery: tuple[SyncVerdict, ...]
