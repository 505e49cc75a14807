"""One run of a sync at a time, by a lease row in the warehouse.

A lease is live until it expires, unless its holder has certainly exited: see `machine`.
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
"""How long before its expiry a lease counts as expired: a batch takes a while, and clocks differ."""


@dataclass
class Lease:
    """The lease that a run holds, as of its last renewal."""

    sync: str
    run_id: str
    expires_at: datetime

    @property
    def live(self) -> bool:
        """Whether the run may send: no other run can have taken the lease."""
        return now() < self.expires_at - min(_SAFETY, LEASE / 10)


def now() -> datetime:
    """Return the current time in UTC without a time zone, like every timestamp in the warehouse."""
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
    """Acquire the lease of `sync`. Raises Locked, naming the holder, when another run has it.

    It is taken in one statement and then read back, because on engines without locks only a single statement
    is atomic.
    """
    held = _held(warehouse, tables, sync)
    gone = next((holder.run_id for holder in held if holder.is_gone), None)
    # Skip the write if another run holds the lease: some engines rewrite the whole table to change a row.
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
        """Whether the process was on this machine and has exited."""
        return self.host == socket.gethostname() and machine.is_gone(self.process)


def _refuse(sync: str, others: list[_Holder]) -> None:
    for other in others:
        raise Locked(
            f"{sync}: locked by run {other.run_id} on {other.host} (process {other.process.split('/')[0]}) "
            f"since {other.acquired_at:%Y-%m-%d %H:%M:%S} UTC. Wait for it to finish or, if that machine is "
            f"gone, until its lease expires at {other.expires_at:%H:%M:%S} UTC."
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
    """Extend the lease. Raises Locked when it expired and another run took it."""
    parts = {"locks": tables.locks, "sync": lease.sync, "run_id": lease.run_id}
    with warehouse.transaction():
        mine = statement("select 1 from :locks as k where k.sync = :sync and k.run_id = :run_id", **parts)
        if not warehouse.rows(mine):
            raise Locked(
                f"{lease.sync}: the lease of run {lease.run_id} expired and another run took it, so this run "
                "stopped. What it sent is recorded; the other run sends the rest."
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
    """Release the lease, unless another run holds it."""
    warehouse.run(
        statement(
            "delete from :locks where sync = :sync and run_id = :run_id",
            locks=tables.locks,
            sync=lease.sync,
            run_id=lease.run_id,
        )
    )
