"""One run of a sync at a time: a lease row in the warehouse.

A lease is live until it expires, unless its holder is certainly gone: see `machine`.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from revetl.errors import Locked
from revetl.sync.state import machine
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

LEASE = timedelta(minutes=15)
_SAFETY = timedelta(seconds=30)
"""How much before its end a lease counts as ended: a batch takes a while, and clocks differ."""


@dataclass
class Lease:
    """The lease that a run holds, as far as it knows."""

    sync: str
    run_id: str
    expires_at: datetime

    @property
    def live(self) -> bool:
        """Whether the run may send: no other can have taken the lease."""
        return now() < self.expires_at - min(_SAFETY, LEASE / 10)


def now() -> datetime:
    """This instant in UTC, without a zone, as every timestamp in the warehouse is."""
    return datetime.now(UTC).replace(tzinfo=None)


_TAKE = """
merge into :locks as l
using (select :sync as sync) as n on l.sync = n.sync
when matched and (l.expires_at <= :now or l.run_id = :gone) then update set
    run_id = :run_id, host = :host, process = :process, acquired_at = :now, expires_at = :until
when not matched then insert (sync, run_id, host, process, acquired_at, expires_at)
values (:sync, :run_id, :host, :process, :now, :until)
"""


def acquire(warehouse: Warehouse, tables: StateTables, sync: str, run_id: str) -> Lease:
    """Take the lease of `sync` and give it. Raises Locked, naming the holder, when another run has it.

    It is taken by one statement and then read back, for where an engine has no locks, one statement is the
    most that is done at once.
    """
    held = _held(warehouse, tables, sync)
    gone = next((holder.run_id for holder in held if holder.is_gone), None)
    # What is plainly another's is not written to: where rows cannot be changed, all are written anew.
    _refuse(sync, [holder for holder in held if not holder.is_gone and holder.expires_at > now()])
    lease = Lease(sync, run_id, now() + LEASE)
    with warehouse.transaction():
        warehouse.lock(tables.locks)
        warehouse.run(
            statement(
                _TAKE,
                locks=tables.locks,
                sync=sync,
                run_id=run_id,
                gone=gone or "",
                host=socket.gethostname(),
                process=machine.this_process(),
                now=now(),
                until=lease.expires_at,
            )
        )
    _refuse(sync, [holder for holder in _held(warehouse, tables, sync) if holder.run_id != run_id])
    return lease


class _Holder(NamedTuple):
    """A row of `sync_locks`."""

    run_id: str
    host: str
    process: str
    acquired_at: datetime
    expires_at: datetime

    @property
    def is_gone(self) -> bool:
        """Whether it was a process that this one would see, and is no more."""
        return self.host == socket.gethostname() and machine.is_gone(self.process)


def _refuse(sync: str, others: list[_Holder]) -> None:
    for other in others:
        raise Locked(
            f"{sync}: run {other.run_id} on {other.host} (process {other.process.split('/')[0]}) has been at "
            f"it since {other.acquired_at:%Y-%m-%d %H:%M:%S} UTC. Wait for it, or until its lease ends at "
            f"{other.expires_at:%H:%M:%S} UTC if that machine is gone."
        )


def _held(warehouse: Warehouse, tables: StateTables, sync: str) -> list[_Holder]:
    rows = warehouse.rows(
        statement(
            "select run_id, host, process, acquired_at, expires_at from :locks as k where k.sync = :sync",
            locks=tables.locks,
            sync=sync,
        )
    )
    return [_Holder(*row) for row in rows]


def renew(warehouse: Warehouse, tables: StateTables, lease: Lease) -> None:
    """Keep the lease for as long again. Raises Locked when another run took it after it had expired."""
    parts = {"locks": tables.locks, "sync": lease.sync, "run_id": lease.run_id}
    with warehouse.transaction():
        mine = statement("select 1 from :locks as k where k.sync = :sync and k.run_id = :run_id", **parts)
        if not warehouse.rows(mine):
            raise Locked(
                f"{lease.sync}: the lease of run {lease.run_id} ended and another run took it, so this one "
                "stopped. What it had sent is booked; the other run does the rest."
            )
        until = now() + LEASE
        warehouse.run(
            statement(
                "update :locks set expires_at = :until where sync = :sync and run_id = :run_id",
                **parts,
                until=until,
            )
        )
    lease.expires_at = until


def release(warehouse: Warehouse, tables: StateTables, lease: Lease) -> None:
    """Give the lease back; another run's is left alone."""
    warehouse.run(
        statement(
            "delete from :locks where sync = :sync and run_id = :run_id",
            locks=tables.locks,
            sync=lease.sync,
            run_id=lease.run_id,
        )
    )
