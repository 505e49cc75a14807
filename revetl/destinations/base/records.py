"""What goes into a destination and comes out of it, as values: records and results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal, NamedTuple


class Record(NamedTuple):
    """One person of a batch: the audience's key, what the destination knows them by, and the mapped fields.
    `origin` is the run in which the change was first attempted; `timestamp` is when an event happened, ISO
    8601 in UTC; `problem` is why the record cannot be put into any request; `event` is what it is tracked as,
    where each record of its sync has a name of its own for it. `instead` are the records that a function made
    of it, which are sent in its place, each but the first with a number of its own (`part`); `later` is why
    it is left to the next run; `invalid` says which of its identifiers are none."""

    key: str
    identifiers: Mapping[str, Any]
    fields: Mapping[str, Any]
    origin: str
    timestamp: str | None = None
    problem: str | None = None
    event: str | None = None
    part: int = 0
    instead: tuple[Record, ...] | None = None
    later: str | None = None
    invalid: str | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """A batch in order, and what it is part of. `operation` is add, update or remove; `event` is what the
    records are tracked as, in mode `events`, and `happens_again` whether it may happen twice of a key;
    `set_if_empty` names fields that must not overwrite a value; `at` is when the run began, in ISO 8601.
    `audience_id` is what the destination calls the audience, and `fields` what it calls the mapped fields,
    where it has names of its own for them; `kinds` are the kinds of values that they take (metadata.py), by
    the names of the sync. `spreads`: the sync names no fields, so that they are whatever the model or the
    properties of an event have. Where `creates` is false, an audience that is not there is not created but
    said to be missing (AudienceMissing): the state holds members of it."""

    sync: str
    audience: str
    run_id: str
    operation: str
    records: tuple[Record, ...]
    event: str | None = None
    set_if_empty: tuple[str, ...] = ()
    happens_again: bool = False
    at: str | None = None
    audience_id: str = ""
    creates: bool = True
    spreads: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str | None] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, cut: slice) -> Records:
        return replace(self, records=self.records[cut])

    def change_id(self, record: Record) -> str:
        """Names a change and not its attempt: it is the same whenever the change is sent again. An event
        that happens once has an id that is made of its key alone."""
        event, part = self.event_of(record), [str(record.part)] if record.part else []
        if event and not self.happens_again:
            return digest(self.sync, event, record.key, *part)
        return digest(self.sync, self.operation, record.key, record.origin, *part)

    def event_of(self, record: Record) -> str:
        """What a record is tracked as; empty where it is not."""
        return record.event or self.event or ""

    def fields_over(self, record: Record, held: Mapping[str, Any]) -> dict[str, Any]:
        """A record's fields by the destination's names, but for those of `set_if_empty` that have a value
        among what is `held` of the person there, by the destination's names."""
        named = {name: self.fields.get(name, name) for name in record.fields}
        return {
            named[name]: value
            for name, value in record.fields.items()
            if name not in self.set_if_empty or held.get(named[name]) in (None, "", [])
        }

    @property
    def batch_id(self) -> str:
        """Names the batch by its changes: the same batch sent again has the id it had."""
        named = "\0".join(f"{record.key}\0{record.origin}" for record in self.records)
        return digest(self.sync, self.operation, named)


def nobody(reason: str = "nobody there is known by that") -> Rejection:
    """Why a record was not taken: whom it is of is not there."""
    return Rejection(reason, about="person")


_FOR_NOW = re.compile(
    r"rate.?limit|too.many.requests|try.again|temporar|(service|server).(is.)?(unavailable|busy)"
    r"|internal.?(server.?)?error|time.?out|timed.out|deadlock|lock.row|concurrent.(modification|update)",
    re.IGNORECASE,
)
"""Words for what is over soon, where a tool has no code for it."""


def refusal(reason: str, field: str | None = None) -> Rejection:
    """Why a tool that has no codes refused a record: for good, or for now, as its words say."""
    return for_now(reason, field) if _FOR_NOW.search(reason) else Rejection(reason, field)


def is_for_now(why: str | Rejection) -> bool:
    """Whether a record was refused only for now."""
    return isinstance(why, Rejection) and why.about == "moment"


def for_now(reason: str, field: str | None = None) -> Rejection:
    """Why a record is to be sent again: the destination could not take it at that moment."""
    return Rejection(reason, field, about="moment")


def digest(*parts: str) -> str:
    """32 hex digits of the parts in order."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(part.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record was refused, and the field it was refused for where the destination says. `about`: it is
    for the record, or because nobody there is known by its identifiers (`person`), or only for now
    (`moment`): such a one is left to the next run when trying again did not help."""

    reason: str
    field: str | None = None
    about: Literal["record", "person", "moment"] = "record"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch: by index of the record, why it was rejected, or why it is to be sent again.
    Every other record was accepted."""

    rejected: Mapping[int, str | Rejection] = field(default_factory=dict)
    retry: Mapping[int, str | Rejection] = field(default_factory=dict)
