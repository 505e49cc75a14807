"""What a run did, and its row in `sync_runs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from revetl.errors import GuardStopped, RevetlError
from revetl.sql import statement
from revetl.sync import lock
from revetl.sync.spool import OPERATIONS
from revetl.sync.tables import Tables, insert
from revetl.warehouse import Warehouse

INTERRUPTED = 130


@dataclass(frozen=True)
class Run:
    """What a run did. `status`: running, success, rejected (some records were), stopped (by a guard),
    refused (by the destination), interrupted, crashed. planned = delivered + rejected + unsent.
    `recovered` counts records of runs that were cut short whose outcome nobody knows."""

    run_id: str
    sync: str
    audience: str
    destination: str
    mode: str
    status: str
    started_at: datetime
    finished_at: datetime | None = None
    audience_rows: int = 0
    planned: Mapping[str, int] = field(default_factory=dict)
    delivered: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    recovered: int = 0
    forced: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int = 0

    @property
    def unsent(self) -> int:
        """Records that were planned and have no answer."""
        return sum(self.planned.values()) - sum(self.delivered.values()) - self.rejected

    @property
    def seconds(self) -> float:
        """How long it took."""
        return 0.0 if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


def status_of(error: RevetlError | None, rejected: int, interrupted: bool) -> tuple[str, int]:
    """The status and the exit code of a run's end."""
    if isinstance(error, GuardStopped):
        return "stopped", error.exit_code
    if error is not None:
        return "refused", error.exit_code
    if interrupted:
        return "interrupted", INTERRUPTED
    return ("rejected", 1) if rejected else ("success", 0)


def write_run(warehouse: Warehouse, tables: Tables, run: Run) -> None:
    """Put the run's row in the place of the one it may have."""
    warehouse.run(statement("delete from :runs where run_id = :id", runs=tables.runs, id=run.run_id))
    values: dict[str, object] = {
        "run_id": run.run_id,
        "sync": run.sync,
        "audience": run.audience,
        "destination": run.destination,
        "mode": run.mode,
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "audience_rows": run.audience_rows,
        **{f"planned_{name}": run.planned.get(name, 0) for name in OPERATIONS},
        **{f"delivered_{name}": run.delivered.get(name, 0) for name in OPERATIONS},
        "rejected": run.rejected,
        "unsent": run.unsent,
        "forced": ",".join(run.forced) or None,
        "error": run.error,
    }
    warehouse.run(insert(tables.runs, values))


def close_crashed(
    warehouse: Warehouse, tables: Tables, run_id: str, delivered: Mapping[str, int], rejected: int
) -> None:
    """Complete the row of a run that was cut short with what its journal knows."""
    done = {f"delivered_{name}": delivered.get(name, 0) for name in OPERATIONS}
    warehouse.run(
        statement(
            """
            update :runs set status = 'crashed', finished_at = :now, rejected = :rejected,
                delivered_add = :delivered_add, delivered_update = :delivered_update,
                delivered_remove = :delivered_remove,
                unsent = planned_add + planned_update + planned_remove - :answered
            where run_id = :run_id and status = 'running'
            """,
            runs=tables.runs,
            run_id=run_id,
            now=lock.now(),
            rejected=rejected,
            answered=sum(done.values()) + rejected,
            **done,
        )
    )
