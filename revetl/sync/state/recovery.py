"""Booking what runs that were cut short have left: on this machine, or only in the warehouse."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa

from revetl.delivery.disk import disk_error, may_pass
from revetl.delivery.journal import Journal
from revetl.delivery.spool import Spool
from revetl.observability import logs
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.presence import MEMBER
from revetl.sync.state import outbox
from revetl.sync.state.checkpoint import Checkpoint
from revetl.sync.state.run_log import Run, close_crashed, running
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse

Tell = Callable[[Run], None]


def runs_folder(workspace: Workspace, sync: Sync) -> Path:
    """Runs of a sync on the workspace's target; what is left in it was cut short."""
    return workspace.root / ".revetl" / "runs" / workspace.target.name / sync.name


def recover(
    warehouse: Warehouse, tables: StateTables, sync: str, folder: Path, on_crashed: Tell = lambda _: None
) -> int:
    """Fold what is left in `folder` into the state, by the holder of the sync's lease; what a run was about
    to send and left nothing of that can be read is taken for sent without an answer. Tells `on_crashed` of
    each run that was cut short; gives the number of records whose outcome nobody knows."""
    recovered = 0
    waiting = outbox.open_runs(warehouse, tables, sync)
    for left in sorted(folder.glob("*")):
        try:
            if left.name in waiting:
                recovered += _fold_left(warehouse, tables, sync, left)
        except (sqlite3.Error, pa.ArrowException, OSError, orjson.JSONDecodeError, KeyError) as error:
            if may_pass(error):
                # The journal is there: it is read when the disk is well.
                raise disk_error(error, left) from error
            logs.event("journal_lost", sync=sync, run_id=left.name, why=str(error))
        Spool(left).remove()
    for run_id in outbox.open_runs(warehouse, tables, sync):
        recovered += outbox.take_for_sent(warehouse, tables, sync, run_id)
    # Whoever holds the lease is the only one at it: the other runs that are open were cut short.
    for run_id in running(warehouse, tables, sync):
        on_crashed(close_crashed(warehouse, tables, run_id))
    return recovered


def _fold_left(warehouse: Warehouse, tables: StateTables, sync: str, left: Path) -> int:
    about = left / "run.json"
    # It is written last: without it, the run was cut short before anything was sent.
    if not about.exists():
        outbox.drop(warehouse, tables, sync, left.name)
        return 0
    told = orjson.loads(about.read_bytes())
    hash_by, presence = told["hash_by"], told.get("presence", MEMBER)
    spool = Spool(left)
    journal = Journal(left, is_there=True)
    try:
        carrier = Checkpoint(tables, sync, left.name, hash_by, presence, spool, journal, again=True)
        carrier.fold(warehouse)
        recovered = carrier.fold_rest(warehouse)
    finally:
        journal.close()
    outbox.drop(warehouse, tables, sync, left.name)
    return recovered
