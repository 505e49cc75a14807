"""Input and output of a destination as values: records and results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, Literal, NamedTuple


class Record(NamedTuple):
    """One person in a batch: the audience's key, the destination's identifiers, and the mapped fields.
    `origin` is the run that first attempted the change; `timestamp` is the time of an event, ISO 8601 in UTC;
    `problem` is why the record can't be part of any request; `event` is the event name, if it differs between
    the records of the sync. `instead` are the records that a function returned for it, which are sent in its
    place, numbered by `part` after the first; `later` is why it is deferred to the next run; `invalid` lists
    its invalid identifiers."""

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
class SyncContext:
    """What the batches of one operation (add, update or remove) of a run have in common.

    `event` is what records are tracked as, in mode `events`, and `happens_again` whether it may happen twice
    for a key; `set_if_empty` names fields that must not overwrite a value; `at` is when the run began, in ISO
    8601. `has_message_ids`: the keys are the ids of the messages that the records come from. `audience_id`
    is the destination's id of the audience, `fields` its names of the mapped fields, and
    `kinds` the kinds of values that they take (field_check.py), by the sync's names. `spreads`: the sync
    names no fields, so they are those of the model or of an event's properties. Without `creates`, an
    audience that does not exist is reported as missing (AudienceMissing), not created: the state holds
    members of it.
    """

    sync: str
    audience: str
    run_id: str
    operation: str
    event: str | None = field(default=None, kw_only=True)
    set_if_empty: tuple[str, ...] = field(default=(), kw_only=True)
    happens_again: bool = field(default=False, kw_only=True)
    has_message_ids: bool = field(default=False, kw_only=True)
    at: str | None = field(default=None, kw_only=True)
    audience_id: str = field(default="", kw_only=True)
    creates: bool = field(default=True, kw_only=True)
    spreads: bool = field(default=False, kw_only=True)
    fields: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    kinds: Mapping[str, str | None] = field(default_factory=dict, kw_only=True)

    def batch(self, records: Iterable[Record]) -> Records:
        """Records in this context."""
        own = {each.name: getattr(self, each.name) for each in fields(SyncContext)}
        return Records(**own, records=tuple(records))

    def event_of(self, record: Record) -> str:
        """Return the event name of a record; empty if it isn't an event."""
        return record.event or self.event or ""

    def fields_over(self, record: Record, held: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record's fields by the destination's names, without `set_if_empty` fields that already
        have a value in `held`, the person's data in the destination."""
        named = {name: self.fields.get(name, name) for name in record.fields}
        return {
            named[name]: value
            for name, value in record.fields.items()
            if name not in self.set_if_empty or held.get(named[name]) in (None, "", [])
        }


@dataclass(frozen=True, slots=True)
class Records(SyncContext):
    """A batch in order, with its context."""

    records: tuple[Record, ...]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, cut: slice) -> Records:
        return replace(self, records=self.records[cut])

    def change_id(self, record: Record) -> str:
        """Return the id of a change, independent of the attempt: it stays the same across retries. The id of
        a one-time event is derived from its key only."""
        event, part = self.event_of(record), [str(record.part)] if record.part else []
        if event and self.has_message_ids:
            # The same whichever sync or replay sends the message.
            return digest("message", record.key, *part)
        if event and not self.happens_again:
            return digest(self.sync, event, record.key, *part)
        return digest(self.sync, self.operation, record.key, record.origin, *part)

    def event_id(self, record: Record, form: re.Pattern[str] | None = None) -> str:
        """Return the id that a destination recognizes an event by: the id of its message if that has the form
        that the API accepts, else `change_id`."""
        is_accepted = form is None or form.fullmatch(record.key)
        if self.has_message_ids and self.event_of(record) and not record.part and is_accepted:
            return record.key
        return self.change_id(record)

    @property
    def batch_id(self) -> str:
        """Return the id of the batch, derived from its changes: a retried batch keeps its id."""
        named = "\0".join(f"{record.key}\0{record.origin}" for record in self.records)
        return digest(self.sync, self.operation, named)


def nobody(reason: str = "no person with these identifiers exists in the destination") -> Rejection:
    """Return the rejection of a record whose person doesn't exist in the destination."""
    return Rejection(reason, about="person")


_FOR_NOW = re.compile(
    r"rate.?limit|too.many.requests|try.again|temporar|(service|server).(is.)?(unavailable|busy)"
    r"|internal.?(server.?)?error|time.?out|timed.out|deadlock|lock.row|concurrent.(modification|update)",
    re.IGNORECASE,
)
"""Phrases of temporary errors, for APIs without error codes."""


def refusal(reason: str, field: str | None = None) -> Rejection:
    """Classify an error message of an API without error codes as permanent or temporary."""
    return for_now(reason, field) if _FOR_NOW.search(reason) else Rejection(reason, field)


def is_for_now(why: str | Rejection) -> bool:
    """Whether a record was rejected only temporarily."""
    return isinstance(why, Rejection) and why.about == "moment"


def for_now(reason: str, field: str | None = None) -> Rejection:
    """Return a temporary rejection: the record is to be sent again."""
    return Rejection(reason, field, about="moment")


def digest(*parts: str) -> str:
    """Return a hash of the parts in order, as 32 hex digits."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(part.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record was rejected, and the field that caused it if the destination names one. `about`: the
    cause is the record itself, an unknown person (`person`), or temporary (`moment`); if retries don't help,
    temporary rejections are deferred to the next run."""

    reason: str
    field: str | None = None
    about: Literal["record", "person", "moment"] = "record"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a batch: by index of the record, why it was rejected or has to be retried. All other
    records were accepted."""

    rejected: Mapping[int, str | Rejection] = field(default_factory=dict)
    retry: Mapping[int, str | Rejection] = field(default_factory=dict)
