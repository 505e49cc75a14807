"""One run of a sync at a time: a lease row in the warehouse.

A lease is live until it expires, unless its holder was a process of this machine that is gone.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from revetl.errors import Locked
from revetl.sql import statement
from revetl.sync.tables import Tables, insert
from revetl.warehouse import Warehouse

LEASE = timedelta(minutes=15)


def now() -> datetime:
    """This instant in UTC, without a zone, as every timestamp in the warehouse is."""
    return datetime.now(UTC).replace(tzinfo=None)


def acquire(warehouse: Warehouse, tables: Tables, sync: str, run_id: str) -> None:
    """Take the lease of `sync`. Raises Locked, naming the holder, when another run has it."""
    with warehouse.transaction():
        held = warehouse.rows(
            statement(
                "select run_id, host, process, acquired_at, expires_at from :locks where sync = :sync",
                locks=tables.locks,
                sync=sync,
            )
        )
        for holder, host, process, acquired_at, expires_at in held:
            gone = host == socket.gethostname() and not _is_alive(process)
            if expires_at > now() and not gone:
                raise Locked(
                    f"{sync}: run {holder} on {host} (process {process.split('/')[0]}) has been at it since "
                    f"{acquired_at:%Y-%m-%d %H:%M:%S} UTC. Wait for it, or until its lease ends at "
                    f"{expires_at:%H:%M:%S} UTC if that machine is gone."
                )
        release(warehouse, tables, sync)
        lease = {
            "sync": sync,
            "run_id": run_id,
            "host": socket.gethostname(),
            "process": _process(os.getpid()),
            "acquired_at": now(),
            "expires_at": now() + LEASE,
        }
        warehouse.run(insert(tables.locks, lease))


def renew(warehouse: Warehouse, tables: Tables, sync: str, run_id: str) -> None:
    """Keep the lease. Raises Locked when another run took it after it had expired."""
    mine = statement(
        "select 1 from :locks where sync = :sync and run_id = :run_id",
        locks=tables.locks,
        sync=sync,
        run_id=run_id,
    )
    if not warehouse.rows(mine):
        raise Locked(f"{sync}: the lease of run {run_id} expired and another run took it; this run stops.")
    warehouse.run(
        statement(
            "update :locks set expires_at = :expires_at where sync = :sync",
            locks=tables.locks,
            sync=sync,
            expires_at=now() + LEASE,
        )
    )


def release(warehouse: Warehouse, tables: Tables, sync: str) -> None:
    """Give the lease back."""
    warehouse.run(statement("delete from :locks where sync = :sync", locks=tables.locks, sync=sync))


def _process(pid: int) -> str:
    """The process as `pid/start`, so that a later process with its number is not taken for it."""
    return f"{pid}/{_started(pid) or ''}"


def _started(pid: int) -> str | None:
    """When a process started, as Linux counts it; None where /proc is not, or the process is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_alive(process: str) -> bool:
    pid, _, started = process.partition("/")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return not started or _started(int(pid)) in (started, None)
