"""The result of a run, and its row in `sync_runs`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from sqlglot import exp

from revetl._version import __version__
from revetl.delivery.exchange import Exchange
from revetl.delivery.spool import OPERATIONS
from revetl.errors import DiskError, GuardStopped, Locked, RevetlError
from revetl.observability.alerts import HISTORY, PastRun
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables, insert
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

Counts = Mapping[str, int]
"""Records by operation."""
RunStatus = Literal[
    "running",
    "success",
    "rejected",
    "stopped",
    "refused",
    "lost",
    "interrupted",
    "crashed",
    "paused",
    "canceled",
]
"""How a run ended; see Run."""
STATUSES: tuple[str, ...] = get_args(RunStatus)
_TEXTS = ("forced", "exit_code", "invalid_identifiers", "notes", "adjusted", "answers")
_COUNTED = ("planned", "attempted", "delivered", "rejected", "aborted")


@dataclass(frozen=True)
class Run:
    """The result of a run, with counts by operation. planned = attempted + aborted; attempted = delivered +
    rejected + unknown.

    `status`: running, success, rejected (some records were), stopped (by a guard), refused (by the
    destination), lost (another run took the lease), interrupted, crashed, paused and canceled (replays).
    `recovered` counts records of interrupted runs with an unknown outcome. `left_out_rows` counts members
    excluded from the sync. `invalid_identifiers` counts members with an invalid value, by identifier. `notes`
    are sentences about what was sent, beyond the counts. `adjusted` counts records that were changed to fit
    the destination, by `FIELD: CHANGE`. `scope` is `all`, or `one` for a run of one member (`--only`), which
    has the destination's `answers`. `kind` is `sync` or `replay`.
    """

    run_id: str
    sync: str
    audience: str
    destination: str
    mode: str
    status: str
    started_at: datetime
    finished_at: datetime | None = None
    audience_rows: int = 0
    left_out_rows: int = 0
    held_rows: int = 0
    invalid_identifiers: Counts = field(default_factory=dict)
    planned: Counts = field(default_factory=dict)
    attempted: Counts = field(default_factory=dict)
    delivered: Counts = field(default_factory=dict)
    rejected: Counts = field(default_factory=dict)
    aborted: Counts = field(default_factory=dict)
    recovered: int = 0
    stopped_by: str | None = None
    forced: tuple[str, ...] = ()
    error: str | None = None
    git_sha: str | None = None
    dbt_invocation_id: str | None = None
    exit_code: int = 0
    notes: tuple[str, ...] = ()
    adjusted: Counts = field(default_factory=dict)
    scope: str = "all"
    kind: str = "sync"
    answers: tuple[Exchange, ...] = ()

    @property
    def unsent(self) -> int:
        """Records that were planned and are neither delivered nor rejected; the next run plans them again."""
        done = sum(self.delivered.values()) + sum(self.rejected.values())
        return sum(self.planned.values()) - done

    @property
    def seconds(self) -> float:
        """The duration of the run."""
        return 0.0 if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


def outcomes(planned: Counts, counts: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the outcome fields of Run, from the planned records and the counts of the write-ahead log."""

    def of(outcome: str) -> dict[str, int]:
        return {name: counts.get(outcome, {}).get(name, 0) for name in planned}

    delivered, rejected, unknown = of("delivered"), of("rejected"), of("unknown")
    attempted = {name: delivered[name] + rejected[name] + unknown[name] for name in planned}
    aborted = {name: planned[name] - attempted[name] for name in planned}
    return {"attempted": attempted, "delivered": delivered, "rejected": rejected, "aborted": aborted}


def status_of(error: RevetlError | None, rejected: int, signal: int | None) -> tuple[RunStatus, int]:
    """Return the status and the exit code of a run."""
    if isinstance(error, GuardStopped):
        return "stopped", error.exit_code
    if isinstance(error, Locked):
        return "lost", error.exit_code
    if isinstance(error, DiskError):
        return "crashed", error.exit_code
    if error is not None:
        return "refused", error.exit_code
    if signal is not None:
        return "interrupted", 128 + signal
    return ("rejected", 1) if rejected else ("success", 0)


def write_run(warehouse: Warehouse, tables: StateTables, run: Run) -> None:
    """Insert the run's row, or replace it."""
    warehouse.run(statement("delete from :runs where run_id = :id", runs=tables.runs, id=run.run_id))
    plain = {each.name: getattr(run, each.name) for each in fields_of(run)}
    counted = {name: plain.pop(name) for name in _COUNTED}
    values: dict[str, object] = {
        **{name: value for name, value in plain.items() if name not in _TEXTS},
        **{f"{name}_{kind}": counts.get(kind, 0) for name, counts in counted.items() for kind in OPERATIONS},
        "forced": ",".join(run.forced) or None,
        "invalid_identifiers": json.dumps(run.invalid_identifiers) if run.invalid_identifiers else None,
        "revetl_version": __version__,
    }
    warehouse.run(insert(tables.runs, values))


def _booked(warehouse: Warehouse, tables: StateTables, run_id: str) -> dict[str, dict[str, int]]:
    """Count a run's changes in `sync_changes`, by outcome and operation."""
    found: dict[str, dict[str, int]] = {}
    rows = warehouse.rows(
        statement(
            "select outcome, operation, count(*) from :changes as c where c.run_id = :run_id group by 1, 2",
            changes=tables.changes,
            run_id=run_id,
        )
    )
    for outcome, operation, count in rows:
        found.setdefault(outcome, {})[operation] = count
    return found


def running(warehouse: Warehouse, tables: StateTables, sync: str) -> list[str]:
    """Return the runs of a sync that have not ended, oldest first."""
    query = statement(
        "select run_id from :runs as r where r.sync = :sync and r.status = 'running' order by started_at",
        runs=tables.runs,
        sync=sync,
    )
    return [str(run_id) for (run_id,) in warehouse.rows(query)]


def close_crashed(warehouse: Warehouse, tables: StateTables, run_id: str) -> Run:
    """Complete the row of an interrupted run with its recorded changes, and return the run."""
    kept = ("sync", "audience", "destination", "mode", "started_at")
    planned = [f"planned_{name}" for name in OPERATIONS]
    (row,) = warehouse.rows(
        exp.select(*kept, *planned).from_(tables.runs).where(statement("run_id = :id", id=run_id))
    )
    by_operation = dict(zip(OPERATIONS, row[len(kept) :], strict=True))
    run = Run(
        run_id=run_id,
        **dict(zip(kept, row, strict=False)),
        status="crashed",
        finished_at=leases.now(),
        planned=by_operation,
        **outcomes(by_operation, _booked(warehouse, tables, run_id)),  # type: ignore[arg-type]
        error="The run was interrupted.",
    )
    values: dict[str, object] = {"status": run.status, "finished_at": run.finished_at, "error": run.error}
    for name in _COUNTED[1:]:
        values |= {f"{name}_{kind}": count for kind, count in getattr(run, name).items()}
    warehouse.run(exp.update(tables.runs, values, where=statement("run_id = :id", id=run_id)))
    return run


def past_runs(warehouse: Warehouse, tables: StateTables, sync: str, run_id: str) -> list[PastRun]:
    """Return the outcomes of a sync's earlier runs, newest first, for alerts."""
    counted = {
        name: " + ".join(f"{name}_{kind}" for kind in OPERATIONS) for name in ("attempted", "rejected")
    }
    rows = warehouse.rows(
        statement(
            f"select status, {counted['attempted']}, {counted['rejected']} from :runs as r "  # noqa: S608
            "where r.sync = :sync and r.run_id <> :run_id order by started_at desc limit :n",
            runs=tables.runs,
            sync=sync,
            run_id=run_id,
            n=HISTORY,
        )
    )
    return [PastRun(status, {"all": attempted}, {"all": rejected}) for status, attempted, rejected in rows]


def forget_old_changes(warehouse: Warehouse, tables: StateTables, days: int) -> None:
    """Delete changes older than `days`."""
    warehouse.run(
        statement(
            "delete from :changes where changed_at < :since",
            changes=tables.changes,
            since=leases.now() - timedelta(days=days),
        )
    )


def git_sha(root: Path) -> str | None:
    """Return the commit of the project's repository; None without a repository or git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
