"""The answer of `revetl why`, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Person:
    """Who is asked about. `keys` are the values of the audience's key that are theirs, none for someone the
    key does not name; `identities` is every value that names them, by column."""

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
    """One condition of a step, for the person. `holds` is None when it is null, or was not analyzed; `note`
    says which. `true_of` of `rows` rows of the person fulfill it; `holds` and `values` are of the row that
    came nearest. `parts` are the conditions a group is made of, joined by `operator`."""

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
class Step:
    """A CTE, a branch, a table, or the final select. `rows` is how many rows of the person come out of it,
    None where that cannot be told; `reads` are the steps and tables it is made of."""

    name: str
    rows: int | None
    reads: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    is_table: bool = False


@dataclass(frozen=True)
class Membership:
    """Whether the person is in the audience as it was built (`member`) and by its SQL now (`by_query`, None
    where that was not analyzed); `reasons` are what keeps them out, the last cause last."""

    member: bool
    by_query: bool | None
    reasons: tuple[str, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One change that was sent, or was to be."""

    run_id: str
    operation: str
    cause: str | None
    outcome: str
    reason: str | None
    changed_at: datetime


@dataclass(frozen=True)
class Verdict:
    """What one sync makes of the person under one key. `verdict` is one word, `sentence` says it;
    `next_operation` is what the next run would send, `differs` is field to (what the destination holds, what
    the audience says)."""

    sync: str
    key: str | None
    verdict: str
    sentence: str
    next_operation: str | None = None
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    held_since: datetime | None = None
    held_by_run: str | None = None
    history: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Why:
    """Why a person is or is not in an audience, and what became of that at each destination."""

    audience: str
    key: str
    person: Person
    membership: Membership
    delivery: tuple[Verdict, ...]
