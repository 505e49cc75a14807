"""One run of a sync, from its lock to its record; docs/architecture.md tells its life."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from revetl.destinations.base import Destination, Records
from revetl.errors import GuardStopped, RevetlError, WarehouseError
from revetl.project import Sync, Workspace
from revetl.sync import guard, lock
from revetl.sync.deliver import Delivery
from revetl.sync.diff import Diff
from revetl.sync.journal import Journal
from revetl.sync.loop import run_delivery
from revetl.sync.plan import Plan, make_diff, make_plan, sample
from revetl.sync.record import Run, close_crashed, status_of, write_run
from revetl.sync.spool import FORGET, Spool
from revetl.sync.state import Folder
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse

FOLD_SECONDS = 15.0
_SPOOL_BATCH = 10_000


@dataclass(frozen=True)
class SyncOptions:
    """What the command line asks of a run, in its words."""

    full_refresh: bool = False
    retry: bool = False
    force: tuple[str, ...] = ()


@dataclass
class Progress:
    """Told of a run's way; the CLI draws it."""

    on_plan: Callable[[Plan], None] = lambda _: None
    on_records: Callable[[int], None] = lambda _: None


@dataclass(frozen=True)
class Spooled:
    """A run that is ready to be delivered: nothing more is needed of the warehouse until it is."""

    plan: Plan
    spool: Spool
    hash_by: str
    tables: Tables


def plan_sync(workspace: Workspace, sync: Sync, options: SyncOptions, size: int) -> Plan:
    """The plan of a sync with up to `size` sample records an operation; changes nothing, needs no secret."""
    destination = workspace.destination(sync, placeholders=True)
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = Tables(workspace.config.state_schema, warehouse.database)
        diff = make_diff(workspace, sync, warehouse, tables)
        plan = make_plan(workspace, sync, diff, full_refresh=options.full_refresh, retry=options.retry)
        if any(stop.guard == "keys" for stop in plan.stops):
            return plan
        return sample(plan, sync, diff, destination, size)
    finally:
        warehouse.close()


def run_sync(workspace: Workspace, sync: Sync, options: SyncOptions, progress: Progress) -> Run:
    """Run a sync. A guard's stop, a refusal and an interruption are recorded and come back as a Run with
    the exit code; what happens before there is a run to record (Locked, UsageError, WarehouseError) is
    raised."""
    guard.check_forced(options.force)
    runner = Runner(workspace, sync, options, progress, workspace.destination(sync))
    ready = runner.spool()
    return ready if isinstance(ready, Run) else runner.deliver(ready)


@dataclass
class Runner:
    """One run of one sync, in two halves: `spool` needs the warehouse, `deliver` the destination."""

    workspace: Workspace
    sync: Sync
    options: SyncOptions
    progress: Progress
    destination: Destination
    run_id: str = field(default_factory=lambda: f"{lock.now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}")
    started_at: datetime = field(default_factory=lock.now)
    recovered: int = 0
    tables: Tables = field(init=False)

    @property
    def runs_folder(self) -> Path:
        """Runs of this sync on this target; what is left in it was cut short."""
        return self.workspace.root / ".revetl" / "runs" / self.workspace.target.name / self.sync.name

    def spool(self) -> Spooled | Run:
        """Lock, recover, plan, guard and spool; gives the Run when there is nothing to deliver."""
        warehouse = self._open()
        try:
            self.tables.create(warehouse)
            lock.acquire(warehouse, self.tables, self.sync.name, self.run_id)
            try:
                self._recover(warehouse)
                return self._spool(warehouse)
            except BaseException:
                with suppress(RevetlError):
                    lock.release(warehouse, self.tables, self.sync.name)
                raise
        finally:
            warehouse.close()

    def deliver(self, ready: Spooled) -> Run:
        """Deliver, journal, commit and record."""
        journal = Journal(ready.spool.folder)
        self.tables = ready.tables
        carrier = Folder(self.tables, self.sync.name, self.run_id, ready.hash_by, ready.spool, journal)
        error: RevetlError | None = None
        interrupted = False
        try:
            interrupted = run_delivery(lambda: self._delivery(ready.spool, journal, carrier))
        except RevetlError as refusal:
            error = refusal
        warehouse = self._open(light=True)
        try:
            carrier.fold(warehouse)
            carrier.fold_unknown(warehouse)
            run = self._ended(ready.plan, journal, error, interrupted=interrupted)
            if run.status == "success":
                carrier.forget(warehouse)
            with warehouse.transaction():
                write_run(warehouse, self.tables, run)
                lock.release(warehouse, self.tables, self.sync.name)
        finally:
            warehouse.close()
            journal.close()
        ready.spool.remove()
        return run

    def _open(self, *, light: bool = False, lock_timeout: float | None = None) -> Warehouse:
        warehouse = self.workspace.warehouse(light=light, lock_timeout=lock_timeout)
        self.tables = Tables(self.workspace.config.state_schema, warehouse.database)
        return warehouse

    def _recover(self, warehouse: Warehouse) -> None:
        """Fold what runs that were cut short have left on this machine."""
        for folder in sorted(self.runs_folder.glob("*")):
            run_id, spool, about = folder.name, Spool(folder), folder / "run.json"
            journal = Journal(folder)
            # It is written last: without it, the run was cut short before anything was sent.
            if about.exists():
                hash_by = orjson.loads(about.read_bytes())["hash_by"]
                carrier = Folder(self.tables, self.sync.name, run_id, hash_by, spool, journal)
                carrier.fold(warehouse)
                self.recovered += carrier.fold_unknown(warehouse)
            counts = journal.counts()
            rejected = sum(counts["rejected"].values())
            close_crashed(warehouse, self.tables, run_id, counts["delivered"], rejected)
            journal.close()
            spool.remove()

    def _spool(self, warehouse: Warehouse) -> Spooled | Run:
        diff = make_diff(self.workspace, self.sync, warehouse, self.tables)
        options = self.options
        plan = make_plan(
            self.workspace, self.sync, diff, full_refresh=options.full_refresh, retry=options.retry
        )
        self.progress.on_plan(plan)
        try:
            guard.enforce(list(plan.stops), options.force)
        except GuardStopped as stop:
            return self._end_early(warehouse, plan, stop)
        warehouse.run(diff.settle())
        warehouse.run(diff.dismiss())
        if not (plan.changes or plan.kept):
            return self._end_early(warehouse, plan, None)
        spool = self._write_spool(warehouse, diff)
        write_run(warehouse, self.tables, self._run("running", plan))
        meta = {"run_id": self.run_id, "sync": self.sync.name, "hash_by": diff.hash_by}
        (spool.folder / "run.json").write_bytes(orjson.dumps(meta))
        return Spooled(plan, spool, diff.hash_by, self.tables)

    def _write_spool(self, warehouse: Warehouse, diff: Diff) -> Spool:
        folder = self.runs_folder / self.run_id
        folder.mkdir(parents=True)
        # Spooled rows name people; they are nobody else's to read.
        folder.chmod(0o700)
        spool = Spool(folder)
        queries = {
            "remove": diff.leaving(self.run_id),
            "update": diff.sending("update", self.run_id),
            "add": diff.sending("add", self.run_id),
            FORGET: diff.forgotten(),
        }
        for operation, query in queries.items():
            spool.write(operation, warehouse.stream(query, _SPOOL_BATCH))
        return spool

    def _end_early(self, warehouse: Warehouse, plan: Plan, stop: GuardStopped | None) -> Run:
        status, code = status_of(stop, 0, interrupted=False)
        run = self._run(
            status,
            plan,
            finished_at=lock.now(),
            delivered=dict.fromkeys(plan.counts, 0),
            error=stop and str(stop),
            exit_code=code,
        )
        write_run(warehouse, self.tables, run)
        lock.release(warehouse, self.tables, self.sync.name)
        return run

    def _delivery(self, spool: Spool, journal: Journal, carrier: Folder) -> Delivery:
        last_fold = time.monotonic()

        async def follow() -> None:
            nonlocal last_fold
            if time.monotonic() - last_fold >= FOLD_SECONDS:
                # A warehouse that is busy now is tried again later: the journal keeps everything.
                with suppress(WarehouseError):
                    await asyncio.to_thread(self._fold_now, carrier)
                last_fold = time.monotonic()

        return Delivery(
            destination=self.destination,
            mode=self.sync.config.mode,
            whole=Records(self.sync.name, self.sync.audience.name, self.run_id, "", ()),
            spool=spool,
            journal=journal,
            on_progress=self.progress.on_records,
            on_tick=follow,
        )

    def _fold_now(self, carrier: Folder) -> None:
        warehouse = self._open(light=True, lock_timeout=0)
        try:
            lock.renew(warehouse, self.tables, self.sync.name, self.run_id)
            carrier.fold(warehouse)
        finally:
            warehouse.close()

    def _ended(self, plan: Plan, journal: Journal, error: RevetlError | None, *, interrupted: bool) -> Run:
        counts = journal.counts()
        rejected = sum(counts["rejected"].values())
        status, code = status_of(error, rejected, interrupted)
        return self._run(
            status,
            plan,
            finished_at=lock.now(),
            delivered={name: counts["delivered"].get(name, 0) for name in plan.counts},
            rejected=rejected,
            error=error and str(error),
            exit_code=code,
        )

    def _run(self, status: str, plan: Plan, **rest: object) -> Run:
        return Run(
            run_id=self.run_id,
            sync=self.sync.name,
            audience=self.sync.audience.name,
            destination=self.sync.config.to,
            mode=self.sync.config.mode,
            status=status,
            started_at=self.started_at,
            audience_rows=plan.audience_rows,
            planned=plan.counts,
            recovered=self.recovered,
            forced=self.options.force,
            **rest,  # type: ignore[arg-type]
        )
