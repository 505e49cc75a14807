"""Store replay results in the warehouse, by day and hash range rather than by message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from sqlglot import exp

from revetl.delivery.scrub import scrub
from revetl.errors import UsageError, nearest
from revetl.sync.replay.request import ReplayRequest
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables, insert
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import select, statement

RUNNING, PAUSED, INTERRUPTED, REFUSED = "running", "paused", "interrupted", "refused"
CANCELED, SUCCESS, REJECTED = "canceled", "success", "rejected"
STATES = (RUNNING, PAUSED, INTERRUPTED, REFUSED, CANCELED, SUCCESS, REJECTED)
OPEN = (RUNNING, PAUSED, INTERRUPTED, REFUSED)
"""Statuses of replays that can be resumed."""
PAUSE, CANCEL = "pause", "cancel"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)?")
_COUNTED = ("slices", "slices_done", "planned", "delivered", "rejected", "left_out", "worked_seconds")


@dataclass(frozen=True)
class Replay:
    """A replay, as stored in its row.

    `messages` counts the messages selected at the start, by type. With `slice_messages`, it determines the
    slices.
    """

    replay_id: str
    destination: str
    delivered_to: str
    request: ReplayRequest
    messages: Mapping[str, int]
    slice_messages: int
    status: str
    asked: str | None = None
    slices: int = 0
    slices_done: int = 0
    planned: int = 0
    delivered: int = 0
    rejected: int = 0
    left_out: int = 0
    created_at: datetime = field(default_factory=leases.now)
    updated_at: datetime = field(default_factory=leases.now)
    worked_seconds: int = 0
    run_id: str | None = None

    @property
    def remaining(self) -> int:
        """Number of messages without an outcome."""
        return max(0, self.planned - self.delivered - self.rejected - self.left_out)

    @property
    def eta_seconds(self) -> float | None:
        """Estimated seconds until completion, at the average speed so far; None if unknown."""
        done = self.delivered + self.rejected
        if not self.remaining or self.status in (CANCELED, SUCCESS, REJECTED):
            return 0.0
        return self.remaining * self.worked_seconds / done if done and self.worked_seconds else None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a slice.

    Messages delivered, by type and day; rejected, by reason and field, each with an example ID; and left out.
    """

    delivered: Mapping[tuple[str, str], int]
    rejected: Mapping[tuple[str, str | None], tuple[int, str]]
    left_out: int

    @property
    def delivered_total(self) -> int:
        return sum(self.delivered.values())

    @property
    def rejected_total(self) -> int:
        return sum(count for count, _ in self.rejected.values())


def grouped(reason: str) -> str:
    """Remove parts of a reason that differ by message: personal data and times."""
    return _MOMENT.sub("…", scrub(reason) or "rejected")


def read_replays(warehouse: Warehouse, tables: StateTables) -> list[Replay]:
    """Return all replays, newest first."""
    names = (
        *("replay_id", "destination", "delivered_to", "request", "status", "asked"),
        *_COUNTED,
        *("created_at", "updated_at", "run_id"),
    )
    query = exp.select(*names).from_(tables.named("replays")).order_by("replay_id desc")
    found = []
    for row in warehouse.rows(query):
        values = dict(zip(names, row, strict=True))
        document = orjson.loads(values.pop("request"))
        for name in _COUNTED:
            values[name] = int(values[name] or 0)
        found.append(
            Replay(
                request=ReplayRequest.read(orjson.dumps(document["request"]).decode()),
                messages=document["messages"],
                slice_messages=document["slice_messages"],
                **values,
            )
        )
    return found


def find_replay(replays: Sequence[Replay], replay_id: str) -> Replay:
    """Find a replay by ID or ID prefix. Raises UsageError if none or several match."""
    found = [each for each in replays if each.replay_id.startswith(replay_id)]
    if len(found) != 1:
        known = [each.replay_id for each in replays]
        raise UsageError(f"There is no replay '{replay_id}'. {nearest(replay_id, known)}")
    return found[0]


def create_replay(warehouse: Warehouse, tables: StateTables, replay: Replay) -> None:
    """Insert a new replay."""
    document = {
        "request": orjson.loads(replay.request.text),
        "messages": dict(replay.messages),
        "slice_messages": replay.slice_messages,
    }
    values: dict[str, object] = {
        "replay_id": replay.replay_id,
        "destination": replay.destination,
        "delivered_to": replay.delivered_to,
        "request": orjson.dumps(document).decode(),
        "status": replay.status,
        "created_at": replay.created_at,
        "updated_at": replay.updated_at,
        "run_id": replay.run_id,
        **{name: getattr(replay, name) for name in _COUNTED},
    }
    warehouse.run(insert(tables.named("replays"), values))


def update_replay(warehouse: Warehouse, tables: StateTables, replay_id: str, **values: object) -> None:
    """Update columns of a replay's row."""
    test = statement("replay_id = :id", id=replay_id)
    warehouse.run(exp.update(tables.named("replays"), {**values, "updated_at": leases.now()}, where=test))


def asked_of(warehouse: Warehouse, tables: StateTables, replay_id: str) -> str | None:
    """Return the pending pause or cancel request of a running replay."""
    query = select(
        "select r.asked from :replays as r where r.replay_id = :id",
        replays=tables.named("replays"),
        id=replay_id,
    )
    rows = warehouse.rows(query)
    return None if not rows or rows[0][0] is None else str(rows[0][0])


def done_slices(warehouse: Warehouse, tables: StateTables, replay_id: str) -> set[int]:
    """Return the checkpointed slices of a replay."""
    query = select(
        "select distinct r.slice from :ranges as r where r.replay_id = :id",
        ranges=tables.named("replay_ranges"),
        id=replay_id,
    )
    return {int(number) for (number,) in warehouse.rows(query)}


def sent_before(
    warehouse: Warehouse,
    tables: StateTables,
    request: ReplayRequest,
    delivered_to: str,
    since: datetime | None,
) -> tuple[int, datetime] | None:
    """Return the number of messages that replays sent to the same destination for the request's types and
    days, and the time of the last one; None if none.

    With `since`, only count messages sent before that time.
    """
    tests = [
        statement("r.destination = :to and p.delivered_to = :place", to=request.to, place=delivered_to),
        exp.In(
            this=exp.column("message_type", table="r"),
            expressions=[exp.convert(name) for name in request.types],
        ),
    ]
    if request.since is not None:
        tests.append(statement("r.day >= :first", first=f"{request.since:%Y-%m-%d}"))
    if request.until is not None:
        tests.append(statement("r.day <= :last", last=f"{request.until:%Y-%m-%d}"))
        if (request.until.hour, request.until.minute, request.until.second) == (0, 0, 0):
            tests.append(statement("r.day < :last", last=f"{request.until:%Y-%m-%d}"))
    if since is not None:
        tests.append(statement("r.sent_at < :since", since=since))
    query = select(
        """
        select sum(r.messages), max(r.sent_at) from :ranges as r
        inner join :replays as p on p.replay_id = r.replay_id where :tests
        """,
        ranges=tables.named("replay_ranges"),
        replays=tables.named("replays"),
        tests=exp.and_(*tests),
    )
    ((messages, at),) = warehouse.rows(query)
    return (int(messages), at) if messages else None


def book_slice(
    warehouse: Warehouse,
    tables: StateTables,
    replay: Replay,
    number: int,
    buckets: tuple[int, int],
    types: Sequence[str],
    outcome: Outcome,
) -> None:
    """Checkpoint a slice as done. Repeating it changes nothing."""
    for name in ("replay_ranges", "replay_rejections"):
        warehouse.run(
            statement(
                "delete from :table where replay_id = :id and slice = :number",
                table=tables.named(name),
                id=replay.replay_id,
                number=number,
            )
        )
    first, end = buckets
    counts = dict(outcome.delivered) or {(types[0], ""): 0}
    common = {"replay_id": replay.replay_id, "slice": number}
    rows = [
        {
            **common,
            "destination": replay.destination,
            "message_type": kind,
            "day": day,
            "first_bucket": first,
            "end_bucket": end,
            "messages": count,
            "sent_at": leases.now(),
        }
        for (kind, day), count in sorted(counts.items())
    ]
    _insert(warehouse, tables.named("replay_ranges"), rows)
    rejected = [
        {**common, "reason": reason, "field": name, "messages": count, "example_message_id": example}
        for (reason, name), (count, example) in outcome.rejected.items()
    ]
    _insert(warehouse, tables.named("replay_rejections"), rejected)


def rejections_of(warehouse: Warehouse, tables: StateTables, replay_id: str) -> list[dict[str, object]]:
    """Return the reasons for a replay's rejections, most frequent first."""
    query = select(
        """
        select r.reason, r.field, sum(r.messages) as messages, min(r.example_message_id) as example_message_id
        from :rejections as r where r.replay_id = :id group by 1, 2 order by 3 desc, 1
        """,
        rejections=tables.named("replay_rejections"),
        id=replay_id,
    )
    names = ("reason", "field", "messages", "example_message_id")
    return [{**dict(zip(names, row, strict=True)), "messages": int(row[2])} for row in warehouse.rows(query)]


def _insert(warehouse: Warehouse, into: exp.Table, rows: Sequence[Mapping[str, object]]) -> None:
    for first in range(0, len(rows), 500):
        some = rows[first : first + 500]
        values = exp.values([tuple(row.values()) for row in some])
        warehouse.run(exp.insert(values, into, columns=list(some[0])))
