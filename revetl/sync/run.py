"""One run of a sync, from its lock to its record; docs/architecture.md tells its life."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from revetl.destinations.base import Destination, Records
from revetl.errors import DestinationRefused, GuardStopped, RevetlError, WarehouseError
from revetl.project import Sync, Workspace
from revetl.sql import statement
from revetl.sync import guard, lock
from revetl.sync.deliver import Delivery
from revetl.sync.diff import Diff
from revetl.sync.journal import Journal
from revetl.sync.plan import Plan, make_diff, make_plan, sample
from revetl.sync.spool import FORGET, OPERATIONS, Spool
from revetl.sync.state import Folder
from revetl.sync.tables import Tables, insert
from revetl.warehouse import Warehouse

FOLD_SECONDS = 15.0
_SPOOL_BATCH = 10_000


@dataclass(frozen=True)
class Run:
    """What a run did. `status`: success, rejected (some records were), stopped (a guard), refused (the
    destination), interrupted, failed. planned = delivered + rejected + unsent."""

    run_id: str
    sync: str
    audience: str
    destination: str
    mode: str
    status: str
    started_at: datetime
    finished_at: datetime
    audience_rows: int
    planned: Mapping[str, int]
    delivered: Mapping[str, int]
    rejected: int
    unsent: int
    recovered: int = 0
    error: str | None = None
    exit_code: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()


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


def plan_sync(workspace: Workspace, sync: Sync, options: SyncOptions, size: int) -> Plan:
    """The plan of a sync with up to `size` sample records an operation; changes nothing, needs no secret."""
    destination = workspace.destination(sync, placeholders=True)
    warehouse = workspace.warehouse(read_only=True)
    try:
        diff = make_diff(
            workspace, sync, warehouse, Tables(workspace.config.state_schema, warehouse.database)
        )
        plan = make_plan(workspace, sync, diff, full_refresh=options.full_refresh, retry=options.retry)
        if plan.stops and plan.stops[0].guard == "keys":
            return plan
        return sample(plan, sync, diff, destination, size)
    finally:
        warehouse.close()


def run_sync(workspace: Workspace, sync: Sync, options: SyncOptions, progress: Progress) -> Run:
    """Run a sync. A guard's stop, a refusal and an interruption are recorded and come back as a Run with
    the exit code; what happens before there is a run to record (Locked, UsageError, WarehouseError) is
    raised."""
    guard.check_forced(options.force)
    destination = workspace.destination(sync)
    return _Runner(workspace, sync, options, progress, destination).run()


@dataclass
class _Runner:
    workspace: Workspace
    sync: Sync
    options: SyncOptions
    progress: Progress
    destination: Destination
    run_id: str = field(default_factory=lambda: f"{lock.now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}")
    started_at: datetime = field(default_factory=lock.now)
    recovered: int = 0
    tables: Tables = field(init=False)

    def _open(self, lock_timeout: float | None = None) -> Warehouse:
        warehouse = self.workspace.warehouse(lock_timeout=lock_timeout)
        self.tables = Tables(self.workspace.config.state_schema, warehouse.database)
        return warehouse

    @property
    def runs_folder(self) -> Path:
        """Runs of this sync on this target; what is left in it was cut short."""
        return self.workspace.root / ".revetl" / "runs" / self.workspace.target.name / self.sync.name

    def run(self) -> Run:
        warehouse = self._open()
        try:
            self.tables.create(warehouse)
            lock.acquire(warehouse, self.tables, self.sync.name, self.run_id)
            try:
                self._recover(warehouse)
                diff = make_diff(self.workspace, self.sync, warehouse, self.tables)
                plan = make_plan(
                    self.workspace,
                    self.sync,
                    diff,
                    full_refresh=self.options.full_refresh,
                    retry=self.options.retry,
                )
                self.progress.on_plan(plan)
                stopped = self._stopped(plan)
                if stopped or not (plan.changes or plan.kept):
                    warehouse.run(diff.settle())
                    run = self._outcome(plan, error=stopped)
                    self._record(warehouse, run)
                    lock.release(warehouse, self.tables, self.sync.name)
                    return run
                spool = self._spool(warehouse, diff)
                warehouse.run(diff.settle())
            except BaseException:
                with suppress(RevetlError):
                    lock.release(warehouse, self.tables, self.sync.name)
                raise
        finally:
            warehouse.close()
        return self._deliver(plan, spool, diff.hash_by)

    def _stopped(self, plan: Plan) -> GuardStopped | None:
        try:
            guard.enforce(list(plan.stops), self.options.force)
        except GuardStopped as error:
            return error
        return None

    def _recover(self, warehouse: Warehouse) -> None:
        """Fold what runs that were cut short have left on this machine."""
        if not self.runs_folder.exists():
            return
        for folder in sorted(self.runs_folder.iterdir()):
            meta = folder / "run.json"
            if meta.exists():
                # Without it, the run was cut short before anything could be sent.
                about = json.loads(meta.read_text())
                spool = Spool(folder)
                journal = Journal(folder)
                carrier = Folder(
                    self.tables, self.sync.name, about["run_id"], about["hash_by"], spool, journal
                )
                carrier.fold(warehouse)
                self.recovered += carrier.fold_unknown(warehouse)
                counts = journal.counts()
                self._finish_dead(warehouse, about["run_id"], counts)
                journal.close()
            Spool(folder).remove()

    def _finish_dead(self, warehouse: Warehouse, run_id: str, counts: dict[str, dict[str, int]]) -> None:
        delivered, rejected = counts["delivered"], sum(counts["rejected"].values())
        warehouse.run(
            statement(
                """
                update :runs set status = 'crashed', finished_at = :now, rejected = :rejected,
                    delivered_add = :added, delivered_update = :updated, delivered_remove = :removed,
                    unsent = planned_add + planned_update + planned_remove - :done
                where run_id = :run_id
                """,
                runs=self.tables.runs,
                now=lock.now(),
                rejected=rejected,
                added=delivered.get("add", 0),
                updated=delivered.get("update", 0),
                removed=delivered.get("remove", 0),
                done=rejected + sum(delivered.get(operation, 0) for operation in OPERATIONS),
                run_id=run_id,
            )
        )

    def _spool(self, warehouse: Warehouse, diff: Diff) -> Spool:
        folder = self.runs_folder / self.run_id
        folder.mkdir(parents=True, exist_ok=True)
        # Spooled rows name people; they are nobody else's to read.
        folder.chmod(0o700)
        spool = Spool(folder)
        planned = {"remove": spool.write("remove", warehouse.stream(diff.leaving(self.run_id), _SPOOL_BATCH))}
        for operation in ("update", "add"):
            query = diff.sending(operation, self.run_id)
            planned[operation] = spool.write(operation, warehouse.stream(query, _SPOOL_BATCH))
        spool.write(FORGET, warehouse.stream(diff.forgotten(), _SPOOL_BATCH))
        about = {"run_id": self.run_id, "sync": self.sync.name, "hash_by": diff.hash_by}
        self._record(warehouse, self._running(planned))
        (folder / "run.json").write_text(json.dumps(about))
        return spool

    def _deliver(self, plan: Plan, spool: Spool, hash_by: str) -> Run:
        journal = Journal(spool.folder)
        carrier = Folder(self.tables, self.sync.name, self.run_id, hash_by, spool, journal)
        whole = Records(self.sync.name, self.sync.audience.name, self.run_id, "", ())
        last_fold = time.monotonic()

        async def follow() -> None:
            nonlocal last_fold
            if time.monotonic() - last_fold >= FOLD_SECONDS:
                # A warehouse that is busy now is tried again later: the journal keeps everything.
                with suppress(WarehouseError):
                    await asyncio.to_thread(self._fold_now, carrier)
                last_fold = time.monotonic()

        delivery = Delivery(
            destination=self.destination,
            mode=self.sync.config.mode,
            whole=whole,
            spool=spool,
            journal=journal,
            on_progress=self.progress.on_records,
            on_tick=follow,
        )
        error: RevetlError | None = None
        try:
            interrupted = _run_async(lambda: _interruptible(delivery))
        except DestinationRefused as refusal:
            interrupted, error = False, refusal
        warehouse = self._open()
        try:
            carrier.fold(warehouse)
            carrier.fold_unknown(warehouse)
            counts = journal.counts()
            run = self._outcome(plan, counts, error, interrupted=interrupted)
            if run.status == "success":
                carrier.forget(warehouse)
            with warehouse.transaction():
                self._forget_running(warehouse)
                self._record(warehouse, run)
                lock.release(warehouse, self.tables, self.sync.name)
        finally:
            warehouse.close()
            journal.close()
        spool.remove()
        return run

    def _fold_now(self, carrier: Folder) -> None:
        warehouse = self._open(lock_timeout=0)
        try:
            lock.renew(warehouse, self.tables, self.sync.name, self.run_id)
            carrier.fold(warehouse)
        finally:
            warehouse.close()

    def _outcome(
        self,
        plan: Plan,
        counts: dict[str, dict[str, int]] | None = None,
        error: RevetlError | None = None,
        *,
        interrupted: bool = False,
    ) -> Run:
        counts = counts or {"delivered": {}, "rejected": {}}
        delivered = {operation: counts["delivered"].get(operation, 0) for operation in plan.counts}
        rejected = sum(counts["rejected"].values())
        unsent = plan.changes - sum(delivered.values()) - rejected
        status, code = "success", 0
        if isinstance(error, GuardStopped):
            status, code = "stopped", error.exit_code
        elif error is not None:
            status, code = "refused", error.exit_code
        elif interrupted:
            status, code = "interrupted", 130
        elif rejected:
            status, code = "rejected", 1
        return Run(
            run_id=self.run_id,
            sync=self.sync.name,
            audience=self.sync.audience.name,
            destination=self.sync.config.to,
            mode=self.sync.config.mode,
            status=status,
            started_at=self.started_at,
            finished_at=lock.now(),
            audience_rows=plan.audience_rows,
            planned=plan.counts,
            delivered=delivered,
            rejected=rejected,
            unsent=unsent,
            recovered=self.recovered,
            error=str(error) if error else None,
            exit_code=code,
        )

    def _running(self, planned: Mapping[str, int]) -> Run:
        """The record of a run that has begun."""
        return Run(
            run_id=self.run_id,
            sync=self.sync.name,
            audience=self.sync.audience.name,
            destination=self.sync.config.to,
            mode=self.sync.config.mode,
            status="running",
            started_at=self.started_at,
            finished_at=self.started_at,
            audience_rows=0,
            planned=planned,
            delivered={},
            rejected=0,
            unsent=0,
        )

    def _forget_running(self, warehouse: Warehouse) -> None:
        query = statement("delete from :runs where run_id = :id", runs=self.tables.runs, id=self.run_id)
        warehouse.run(query)

    def _record(self, warehouse: Warehouse, run: Run) -> None:
        values: dict[str, object] = {
            "run_id": run.run_id,
            "sync": run.sync,
            "audience": run.audience,
            "destination": run.destination,
            "mode": run.mode,
            "status": run.status,
            "started_at": run.started_at,
            "finished_at": None if run.status == "running" else run.finished_at,
            "audience_rows": run.audience_rows,
            **{f"planned_{name}": run.planned.get(name, 0) for name in OPERATIONS},
            **{f"delivered_{name}": run.delivered.get(name, 0) for name in OPERATIONS},
            "rejected": run.rejected,
            "unsent": run.unsent,
            "forced": ",".join(self.options.force) or None,
            "error": run.error,
        }
        warehouse.run(insert(self.tables.runs, values))


async def _interruptible(delivery: Delivery) -> bool:
    """Deliver; SIGINT and SIGTERM end it in order. Gives whether one of them did."""
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        delivery.stop.set()

    with _signals(loop, stop):
        await delivery.run()
    return bool(caught)


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[int], None]) -> Iterator[None]:
    """Only the main thread may take signals; elsewhere (a notebook, an orchestrator) they are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _run_async(work: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    """Run a coroutine to its end, in a thread of its own where a loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    outcome: list[bool | BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work()))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="revetl-delivery")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
