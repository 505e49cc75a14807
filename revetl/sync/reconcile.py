"""Reconcile a sync: compare its state with the audience, and with the destination if that can be read back.

A report changes nothing. A repair writes what was found to the state, under the sync's lease and in one
transaction, and then runs the sync, which sends the difference with its usual guards, write-ahead log and
acknowledgement. An interrupted repair therefore loses nothing: before the transaction nothing has changed,
and after it any run of the sync completes the repair.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from revetl.destinations.base.destination import Destination
from revetl.errors import RevetlError, UsageError, WarehouseError
from revetl.observability import logs
from revetl.observability.alerts import Alerts, RunOutcome
from revetl.project.workspace import Sync, Workspace
from revetl.sync.drift import MODES, Comparison, Drift, disown
from revetl.sync.plan import guards
from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.inputs import ColumnsLost, read_inputs
from revetl.sync.plan.options import SyncOptions
from revetl.sync.plan.plan import Plan, make_plan, without_columns
from revetl.sync.plan.settle import brought_forward
from revetl.sync.readback import ReadBack, read_back
from revetl.sync.run import Progress, run_sync
from revetl.sync.state import leases, outbox
from revetl.sync.state.carry_over import former_name
from revetl.sync.state.identity import (
    audience_there,
    check_warehouse,
    identity_of,
    read_identity,
    record_identity,
)
from revetl.sync.state.last_runs import forget_run
from revetl.sync.state.recovery import recover, runs_folder
from revetl.sync.state.run_ids import new_run_id
from revetl.sync.state.run_log import Run, past_runs
from revetl.sync.state.tables import StateTables, state_tables
from revetl.sync.stop import Stop
from revetl.warehouse import Warehouse
from revetl.warehouse.query_comment import query_comment
from revetl.warehouse.templates import statement


@dataclass(frozen=True)
class ReconcileOptions:
    """The options of `revetl reconcile`; `examples` is the maximum number of examples per kind of drift."""

    repair: bool = False
    remove_extra: bool = False
    force: tuple[str, ...] = ()
    examples: int = 5


@dataclass(frozen=True)
class Repair:
    """The result of a repair: the members `marked` in the state by kind of drift (under `repair_id` in
    `sync_changes`), and the run that followed. `left` counts the drift that was not repaired, by kind:
    extra members without --remove-extra, and different members whom the destination rejects."""

    repair_id: str
    marked: Mapping[str, int]
    left: Mapping[str, int]
    run: Run


@dataclass(frozen=True)
class Reconciliation:
    """The result of a reconciliation.

    `plan` compares the audience with the state: it is what the next run would send, and `keys` are examples
    by operation. `there` compares the state with the destination; None if that was not possible. `notes`
    contain the reason and other warnings."""

    sync: str
    plan: Plan
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    there: Drift | None = None
    notes: tuple[str, ...] = ()
    repair: Repair | None = None

    @property
    def drifted(self) -> bool:
        """Whether any drift was found, repaired or not."""
        return bool(self.plan.changes) or (self.there is not None and self.there.any)

    @property
    def exit_code(self) -> int:
        """0 when nothing differs or everything was repaired, the exit code of a failed run, else 1."""
        if self.repair is None:
            return int(self.drifted)
        return self.repair.run.exit_code or int(any(self.repair.left.values()))


def reconcile(
    workspace: Workspace, sync: Sync, options: ReconcileOptions, progress: Progress | None = None
) -> Reconciliation:
    """Find drift, and repair it with `options.repair`.

    Raises UsageError for options that cannot be combined, DestinationRefused when the destination cannot be
    read back, and WarehouseError. A repair also raises Locked when the sync is running, and GuardStopped when
    implausibly many members are missing at the destination.
    """
    guards.check_forced(options.force)
    workspace.check_target(sync)
    destination = workspace.destination(sync)
    logs.hide(*destination.secrets())
    reconciler = Reconciler(workspace, sync, options, destination)
    reconciler.check()
    return reconciler.repair(progress or Progress()) if options.repair else reconciler.report()


@dataclass
class Reconciler:
    """One reconciliation of one sync."""

    workspace: Workspace
    sync: Sync
    options: ReconcileOptions
    destination: Destination
    id: str = field(default_factory=new_run_id)
    began_at: datetime = field(default_factory=leases.now)
    tables: StateTables = field(init=False)

    def check(self) -> None:
        """Raise UsageError for options that this sync does not support."""
        if not self.options.remove_extra:
            return
        if not self.options.repair:
            raise UsageError("--remove-extra requires --repair.")
        if self.sync.config.mode != "mirror":
            raise UsageError(
                f"--remove-extra requires mode 'mirror'; {self.sync.name} has mode "
                f"'{self.sync.config.mode}', which never removes members."
            )
        if (why := self._unread()) is not None:
            raise UsageError(f"--remove-extra: the members at the destination are not known: {why}")

    def report(self) -> Reconciliation:
        """Compare without changing anything."""
        with ExitStack() as stack:
            there = self._read(stack)
            warehouse = stack.enter_context(self._open(read_only=True))
            found, _ = self._compare(warehouse, there)
            return replace(found, notes=(*found.notes, *self._moving(warehouse)))

    def repair(self, progress: Progress) -> Reconciliation:
        """Compare under the lease, mark the drift in the state, and run the sync."""
        alerts_config = self.workspace.config.alerts
        with Alerts(alerts_config, [self.sync.name], self.workspace.say) as alerts:
            logs.hide(*alerts.secrets())
            found, marked = self._mark(alerts)
            if found.there is not None:
                # The state matches the destination again, so the remembered run no longer matters.
                forget_run(self.workspace, self.sync.name)
            forced = SyncOptions(force=self.options.force, is_compared=found.there is not None)
            run = run_sync(self.workspace, self.sync, forced, progress, alerts=alerts)
        if run.status == "stopped" and marked.get("extra"):
            self._disown()
            marked = {**marked, "extra": 0}
        left = {}
        if found.there is not None:
            mended = {"missing": found.there.missing, **marked}
            counts = {"different": found.there.different, "extra": found.there.extra}
            left = {kind: count - mended.get(kind, 0) for kind, count in counts.items()}
        return replace(found, repair=Repair(self.id, marked, left, run))

    def _mark(self, alerts: Alerts) -> tuple[Reconciliation, dict[str, int]]:
        with self._open() as warehouse:
            self.tables.create(warehouse)
            identity = identity_of(self.workspace, self.sync, self.destination)
            check_warehouse(warehouse, self.tables, self.sync.name, identity)
            lease = leases.acquire(warehouse, self.tables, self.sync.name, self.id)
        try:
            # Recover crashed runs first: their acknowledgements are older than what is read back now.
            with self._open() as warehouse:
                self._recover(warehouse, alerts)
            with ExitStack() as stack:
                there = self._read(stack, lease)
                warehouse = stack.enter_context(self._open())
                leases.renew(warehouse, self.tables, lease)
                found, comparison = self._compare(warehouse, there)
                marked: dict[str, int] = {}
                with warehouse.transaction():
                    if comparison is not None and found.there is not None:
                        self._check_plausible(found.plan, found.there)
                        marked = comparison.mark(self.id)
                        if self.options.remove_extra:
                            marked["extra"] = comparison.adopt(self.id)
                        if self.destination.keeps_marks:
                            # The state matches the destination again, even if it lacks a run.
                            recorded = read_identity(warehouse, self.tables, self.sync.name) or identity
                            accepted = recorded.accepting(leases.now())
                            record_identity(warehouse, self.tables, self.sync.name, accepted)
                    leases.release(warehouse, self.tables, lease)
                return found, marked
        except BaseException:
            with suppress(RevetlError), self._open(light=True) as warehouse:
                leases.release(warehouse, self.tables, lease)
            raise

    def _recover(self, warehouse: Warehouse, alerts: Alerts) -> None:
        past: list[RunOutcome] = []
        if alerts.watches(self.sync.name):
            past = [*past_runs(warehouse, self.tables, self.sync.name, self.id)]

        def tell(crashed: Run) -> None:
            alerts.tell(past, crashed)
            past.insert(0, crashed)

        recover(warehouse, self.tables, self.sync.name, runs_folder(self.workspace, self.sync), tell)

    def _disown(self) -> None:
        """Revert the added members after a guard stopped the run, unless another run has started since."""
        with suppress(RevetlError), self._open(light=True) as warehouse:
            lease = leases.acquire(warehouse, self.tables, self.sync.name, self.id)
            with warehouse.transaction():
                disown(warehouse, self.tables, self.sync.name, self.id)
                leases.release(warehouse, self.tables, lease)

    def _check_plausible(self, plan: Plan, there: Drift) -> None:
        """Raise GuardStopped when so many members are missing that the response is probably wrong.

        Missing members are deleted from the state, so those who left the audience could never be removed."""
        name, to = self.sync.name, self.sync.config.to
        stop = None
        if plan.held_rows and there.missing and not there.read:
            stop = Stop(
                "empty",
                f"{name}: {to} returned no members, but acknowledged {plan.held_rows:,}. Check that the sync "
                "reads the right audience there.",
            )
        share = there.missing / max(plan.held_rows, 1)
        if plan.held_rows >= guards.SMALLEST_GUARDED and share > self.sync.config.max_change:
            stop = stop or Stop(
                "max_change",
                f"{name}: {there.missing:,} of {plan.held_rows:,} acknowledged members ({share:.0%}) are "
                f"missing at {to}; max_change is {self.sync.config.max_change:.0%}. Check what {to} returns.",
            )
        if stop is not None and guards.standing((stop,), self.options.force):
            raise guards.as_error(stop)

    @contextmanager
    def _open(
        self, *, read_only: bool = False, light: bool = False, lock_timeout: float | None = None
    ) -> Iterator[Warehouse]:
        warehouse = self.workspace.warehouse(read_only=read_only, light=light, lock_timeout=lock_timeout)
        try:
            warehouse.comment = query_comment(self.sync.name, self.id)
            self.tables = state_tables(self.workspace, warehouse.database)
            yield warehouse
        finally:
            warehouse.close()

    def _unread(self) -> str | None:
        """Return why the destination cannot be compared, or None if it can."""
        mode, to = self.sync.config.mode, self.sync.config.to
        if not self.destination.can_read:
            return f"{to} ({self.destination.type}) does not support reading an audience back."
        if mode not in MODES:
            return f"in mode '{mode}' the members of {to} do not match the state."
        return None

    def _read(self, stack: ExitStack, lease: leases.Lease | None = None) -> ReadBack | None:
        if self._unread() is not None:
            return None
        # An unnamed file: it contains personal data, and disappears with the process.
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

        def keep() -> None:
            if lease is not None and leases.now() > lease.expires_at - leases.LEASE / 2:
                with suppress(WarehouseError), self._open(light=True, lock_timeout=0) as warehouse:
                    leases.renew(warehouse, self.tables, lease)

        with self._open(read_only=True) as warehouse:
            former = former_name(warehouse, self.tables, self.workspace, self.sync)
            name = former or self.sync.name
            has_any = warehouse.exists(self.tables.identities)
            before = read_identity(warehouse, self.tables, name) if has_any else None
        audience = audience_there(self.sync, self.destination, before, former)
        return read_back(self.destination, audience, file, keep)

    def _compare(
        self, warehouse: Warehouse, there: ReadBack | None
    ) -> tuple[Reconciliation, Comparison | None]:
        name, to = self.sync.name, self.sync.config.to
        diff = read_inputs(self.workspace, self.sync, self.destination, warehouse, self.tables)
        if isinstance(diff, ColumnsLost):
            note = f"{to} was not compared: the audience no longer has a column that the sync sends."
            return Reconciliation(name, without_columns(self.sync, diff), notes=(note,)), None
        if self.options.repair:
            diff = brought_forward(diff)
        plan = make_plan(self.workspace, self.sync, diff)
        keys = self._keys(diff)
        if there is None:
            note = f"Only the audience and the state were compared: {self._unread()}"
            return Reconciliation(name, plan, keys, notes=(note,)), None
        comparison = Comparison(diff, self.sync, self.destination, there)
        found = comparison.find(self.options.examples)
        notes: tuple[str, ...] = ()
        if found.unread and found.read:
            notes = (f"Not compared, because {to} does not return it: {', '.join(found.unread)}.",)
        return Reconciliation(name, plan, keys, found, notes), comparison

    def _keys(self, diff: Diff) -> dict[str, tuple[str, ...]]:
        rows = diff.warehouse.rows(
            statement(
                """
                with placed as (
                    select operation, key, row_number() over (partition by operation order by key) as place
                    from :changes as c where operation in ('add', 'update', 'remove', 'rekey')
                )
                select operation, key from placed where place <= :n order by operation, place
                """,
                changes=CHANGES,
                n=self.options.examples,
            )
        )
        keys: dict[str, tuple[str, ...]] = {}
        for operation, key in rows:
            keys[operation] = (*keys.get(operation, ()), str(key))
        return keys

    def _moving(self, warehouse: Warehouse) -> Iterator[str]:
        """Yield warnings about runs that may have changed the state or the destination during a report."""
        name = self.sync.name
        if not self.tables.exist(warehouse):
            return
        if warehouse.exists(self.tables.intents):
            for run_id in outbox.open_runs(warehouse, self.tables, name):
                yield (
                    f"Run {run_id} is in progress or was interrupted; what it sent is not in the state yet. "
                    "After an interruption, the next run or --repair records it."
                )
        rows = warehouse.rows(
            statement(
                """
                select k.run_id from :locks as k where k.sync = :sync and k.expires_at > :now
                union
                select r.run_id from :runs as r where r.sync = :sync and r.finished_at >= :began_at
                """,
                locks=self.tables.locks,
                runs=self.tables.runs,
                sync=name,
                now=leases.now(),
                began_at=self.began_at,
            )
        )
        for (run_id,) in rows:
            yield f"Run {run_id} was in progress during the comparison: what it sent may show as drift."
