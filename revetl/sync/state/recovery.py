"""Recover interrupted runs, from their files on this machine or from the outbox in the warehouse."""

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
    """Return the folder of a sync's runs on the workspace's target; what remains there was interrupted."""
    return workspace.root / ".revetl" / "runs" / workspace.target.name / sync.name


def recover(
    warehouse: Warehouse, tables: StateTables, sync: str, folder: Path, on_crashed: Tell = lambda _: None
) -> int:
    """Merge the interrupted runs in `folder` into the state; the caller holds the sync's lease.

    If the files of a run are missing or unreadable, its outbox rows count as sent without a response.
    `on_crashed` is called for each interrupted run. Return the number of records with an unknown outcome."""
    recovered = 0
    waiting = outbox.open_runs(warehouse, tables, sync)
    for left in sorted(folder.glob("*")):
        try:
            if left.name in waiting:
                recovered += _fold_left(warehouse, tables, sync, left)
        except (sqlite3.Error, pa.ArrowException, OSError, orjson.JSONDecodeError, KeyError) as error:
            if may_pass(error):
                # The log still exists, and is read once the disk works again.
                raise disk_error(error, left) from error
            logs.event("journal_lost", sync=sync, run_id=left.name, why=str(error))
        Spool(left).remove()
    for run_id in outbox.open_runs(warehouse, tables, sync):
        recovered += outbox.take_for_sent(warehouse, tables, sync, run_id)
    # The lease is exclusive, so every other open run was interrupted.
    for run_id in running(warehouse, tables, sync):
        on_crashed(close_crashed(warehouse, tables, run_id))
    return recovered


def _fold_left(warehouse: Warehouse, tables: StateTables, sync: str, left: Path) -> int:
    about = left / "run.json"
    # Written last: without it, the run was interrupted before it sent anything.
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
