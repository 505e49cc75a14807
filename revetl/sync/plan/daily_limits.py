"""Daily limits: how many records a destination may be sent in 24 hours, and which records wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlglot import exp

from revetl.destinations.base.destination import Destination
from revetl.errors import Locked, RevetlError
from revetl.mapping.fields import TIMESTAMP, FieldMapping
from revetl.project.workspace import Sync
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

LATER = "later"
"""The operation of a change that waits, in `revetl_changes`."""
_DAY = timedelta(hours=24)
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.2

_SENT = """
select
    (
        select count(*) from :changes as c inner join :runs as r on r.run_id = c.run_id
        where r.destination = :to and r.mode = :mode and c.operation = 'add'
        and c.outcome in ('delivered', 'unknown') and c.changed_at >= :since
    ) as booked,
    (
        select count(*) from :intents as i inner join :runs as r on r.run_id = i.run_id
        where r.destination = :to and r.mode = :mode and i.operation = 'add'
    ) as intended
"""


@dataclass(frozen=True)
class DailyLimit:
    """The daily limit of a destination: `limit` records in 24 hours, of which its syncs in the same mode have
    sent, or are about to send, `used`. The change of the key `first` is sent before all others."""

    limit: int
    used: int
    first: str | None = None

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)

    def note(self, waiting: int) -> str:
        """Return the note about records that wait."""
        return (
            f"{waiting:,} records wait for a later run: daily_limit is {self.limit:,}, and {self.used:,} "
            "were sent in the last 24 hours"
        )

    def capped(self, changes: exp.Query, mapping: FieldMapping, model: exp.Expr, key: exp.Expr) -> exp.Query:
        """Return the changes, of which the oldest within the limit are sent and the others wait."""
        moment = next((item for item in mapping.along if item.name == TIMESTAMP), None)
        made = statement(
            """
            select key, row_hash,
                case when operation = 'add' and place > :left then :later else operation end as operation,
                held, origin,
                case when operation = 'add' and place > :left then 'daily_limit' else cause end as cause,
                caused_at, is_sent
            from (
                select c.key, c.row_hash, c.operation, c.held, c.origin, c.cause, c.caused_at, c.is_sent,
                    row_number() over (partition by c.operation order by :moment, c.key) as place
                from :changes as c left join :model as a on :key = c.key
            ) as q
            """,
            left=self.left,
            later=LATER,
            moment=exp.convert(0) if moment is None else moment.of("a"),
            changes=exp.Subquery(this=changes),
            model=model,
            key=key,
        )
        assert isinstance(made, exp.Query)
        order = made.find(exp.Order)
        if self.first is not None and order is not None:
            is_other = statement("case when c.key = :first then 0 else 1 end", first=self.first)
            order.set("expressions", [exp.Ordered(this=is_other), *order.expressions])
        return made


@contextmanager
def counted_alone(
    destination: Destination, sync: Sync, warehouse: Warehouse, tables: StateTables, run_id: str
) -> Iterator[None]:
    """Lock the daily limit, so that no other run counts it before this run has written its outbox rows.
    Raises Locked when another run holds the lock for too long."""
    if destination.daily_limit(sync.config.mode) is None:
        yield
        return
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            lease = leases.acquire(warehouse, tables, f"daily_limit of {sync.config.to}", run_id)
            break
        except Locked:
            if time.monotonic() > until:
                raise
            time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        with suppress(RevetlError):
            leases.release(warehouse, tables, lease)


def daily_limit_of(
    destination: Destination, sync: Sync, warehouse: Warehouse, tables: StateTables
) -> DailyLimit | None:
    """Return the daily limit of a sync with its current use; None if the destination declares none."""
    limit = destination.daily_limit(sync.config.mode)
    if limit is None:
        return None
    parts = {"changes": tables.changes, "runs": tables.runs, "intents": tables.intents}
    if not all(map(warehouse.exists, parts.values())):
        return DailyLimit(limit, 0)
    query = statement(_SENT, **parts, to=sync.config.to, mode=sync.config.mode, since=leases.now() - _DAY)
    ((booked, intended),) = warehouse.rows(query)
    return DailyLimit(limit, int(booked) + int(intended))
