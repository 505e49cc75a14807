"""Booking what runs that were cut short have left on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from revetl.project import Sync, Workspace
from revetl.sync.journal import Journal
from revetl.sync.record import Run, close_crashed
from revetl.sync.spool import Spool
from revetl.sync.state import Folder
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse


def runs_folder(workspace: Workspace, sync: Sync) -> Path:
    """Runs of a sync on the workspace's target; what is left in it was cut short."""
    return workspace.root / ".revetl" / "runs" / workspace.target.name / sync.name


def recover(
    warehouse: Warehouse,
    tables: Tables,
    sync: str,
    folder: Path,
    on_crashed: Callable[[Run], None] = lambda _: None,
) -> int:
    """Fold what is left in `folder` into the state, by the holder of the sync's lease. Tells `on_crashed` of
    each run whose row was there as `running`; gives the number of records whose outcome nobody knows."""
    recovered = 0
    for left in sorted(folder.glob("*")):
        run_id, spool, about = left.name, Spool(left), left / "run.json"
        journal = Journal(left)
        # It is written last: without it, the run was cut short before anything was sent.
        if about.exists():
            hash_by = orjson.loads(about.read_bytes())["hash_by"]
            carrier = Folder(tables, sync, run_id, hash_by, spool, journal, again=True)
            carrier.fold(warehouse)
            recovered += carrier.fold_rest(warehouse)
        crashed = close_crashed(warehouse, tables, run_id, journal.counts())
        if crashed is not None:
            on_crashed(crashed)
        journal.close()
        spool.remove()
    return recovered
