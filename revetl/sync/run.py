"""Run a sync, from taking its lock to recording the run; docs/explanation/architecture.md has the steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from revetl.delivery.disk import on_disk
from revetl.delivery.garbage import rarely_collected
from revetl.delivery.journal import Journal
from revetl.delivery.scrub import scrub
from revetl.delivery.serializer import Serializer, shaping_in, withheld_note
from revetl.delivery.shutdown import Stopper, run_to_end, signals
from revetl.delivery.spool import OPERATIONS, Spool
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.flow import AudienceMissing
from revetl.errors import DestinationRefused, DiskError, GuardStopped, RevetlError, WarehouseError
from revetl.observability import logs, telemetry
from revetl.observability.alerts import Alerts, RunOutcome
from revetl.project.workspace import Sync, Workspace
from revetl.sync.marks import leave_mark, marked_run
from revetl.sync.plan import guards
from revetl.sync.plan.daily_limits import counted_alone
from revetl.sync.plan.eligibility import record_holdouts
from revetl.sync.plan.only import (
    forget_old_trials,
    keep_trial,
)
from revetl.sync.plan.options import SyncOptions, forced_by
from revetl.sync.plan.plan import (
    Plan,
    unknown_note,
)
from revetl.sync.plan.planner import plan_changes
from revetl.sync.plan.presence import MEMBER, Presence
from revetl.sync.plan.preview import context_of
from revetl.sync.plan.settle import (
    dismiss_rejections,
    drop_former_identifiers,
    keep_only_suppressed,
    label_presence,
    settle_rehashed,
)
from revetl.sync.plan.state_summary import Build, StateSummary
from revetl.sync.state import leases, outbox
from revetl.sync.state.carry_over import carry_over
from revetl.sync.state.checkpoint import Checkpoint
from revetl.sync.state.identity import (
    Identity,
    audience_there,
    check_warehouse,
    forget_held,
    identity_of,
    record_identity,
)
from revetl.sync.state.last_runs import remember_run
from revetl.sync.state.recovery import recover, runs_folder
from revetl.sync.state.run_ids import beginning, new_run_id
from revetl.sync.state.run_log import (
    Run,
    forget_old_changes,
    git_sha,
    outcomes,
    past_runs,
    status_of,
    write_run,
)
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse
from revetl.warehouse.query_comment import query_comment

if TYPE_CHECKING:
    from revetl.delivery.deliver import Delivery

FOLD_SECONDS = 15.0
FOLD_RECORDS = 100_000
_SPOOL_BATCH = 10_000


@dataclass
class Progress:
    """Callbacks for the progress of a run, which the CLI displays."""

    on_plan: Callable[[Plan], None] = lambda _: None
    on_records: Callable[[int], None] = lambda _: None
    on_wait: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class ReadyRun:
    """A run that is ready to deliver: it doesn't need the warehouse until delivery ends.

    `stopped` is the guard that let only the removes of suppressed people through. `identity` is where the run
    delivers to, and `identity_before` the recorded identity. With `holds_nobody`, an audience that does not
    exist at the destination is new."""

    plan: Plan
    spool: Spool
    hash_by: str
    tables: StateTables
    build: Build
    lease: leases.Lease
    identifiers: tuple[str, ...]
    fields: dict[str, str]
    by_key: bool
    refused_before: bool
    stopped: GuardStopped | None = None
    identity: Identity = field(default_factory=Identity)
    identity_before: Identity | None = None
    holds_nobody: bool = True


def run_sync(
    workspace: Workspace,
    sync: Sync,
    options: SyncOptions,
    progress: Progress,
    stopper: Stopper | None = None,
    alerts: Alerts | None = None,
    kind: type[Runner] | None = None,
) -> Run:
    """Run a sync, or another `kind` of run.

    A stop by a guard, a refusal by the destination and an interruption are recorded, and returned as a Run
    with its exit code. Errors before a run is recorded (Locked, UsageError, WarehouseError) are raised. The
    result goes to logs, telemetry and `alerts`."""
    guards.check_forced(options.force)
    workspace.check_target(sync)
    destination = workspace.destination(sync)
    logs.hide(*destination.secrets())
    shaping = shaping_in(workspace.root, sync, destination)
    stopper = stopper or Stopper()
    runner = (kind or Runner)(
        workspace, sync, options, progress, destination, shaping, stopper=stopper, alerts=alerts
    )
    about = {"sync": sync.name, "run_id": runner.run_id}
    logs.event("run_started", **about, mode=sync.config.mode)
    with telemetry.span("revetl.sync", {f"revetl.{name}": value for name, value in about.items()}) as span:
        ready = runner.spool()
        run = ready if isinstance(ready, Run) else runner.deliver(ready)
        span.set_attribute("revetl.status", run.status)
    counts = {name: getattr(run, name) for name in ("planned", "delivered", "rejected", "aborted")}
    logs.event("run_finished", **about, status=run.status, **counts, seconds=run.seconds, error=run.error)
    telemetry.finished(run)
    # A run of one member says nothing about the health of the sync.
    if alerts is not None and options.only is None:
        alerts.tell(runner.past, run)
    return run


@dataclass
class Runner:
    """One run of one sync, in two steps: `spool` needs the warehouse, `deliver` the destination."""

    workspace: Workspace
    sync: Sync
    options: SyncOptions
    progress: Progress
    destination: Destination
    shaping: Serializer
    run_id: str = field(default_factory=new_run_id)
    started_at: datetime = field(default_factory=leases.now)
    stopper: Stopper = field(default_factory=Stopper)
    alerts: Alerts | None = None
    past: list[RunOutcome] = field(default_factory=list)
    recovered: int = 0
    is_again: bool = False
    marked: str | None = None
    """The last run id stored at the destination, if the state is to be checked against it."""
    delivery: Delivery | None = None
    adjusted: dict[str, int] = field(default_factory=dict)
    tables: StateTables = field(init=False)
    when_missing: ClassVar[str] = "All members are sent to a new audience; max_change does not apply."
    """The second sentence of the note that the audience no longer exists at the destination."""

    def spool(self) -> ReadyRun | Run:
        """Lock, recover, plan, guard and spool; return the Run when there is nothing to deliver."""
        if not self.options.is_compared:
            self.marked = marked_run(self.workspace, self.sync, self.destination)
        with self._writing() as warehouse:
            self.tables.create(warehouse, self.workspace.say)
            identity = identity_of(self.workspace, self.sync, self.destination)
            carry_over(warehouse, self.tables, self.workspace, self.sync, identity, self.run_id)
            check_warehouse(warehouse, self.tables, self.sync.name, identity)
            lease = leases.acquire(warehouse, self.tables, self.sync.name, self.run_id)
            try:
                if self.alerts is not None and self.alerts.watches(self.sync.name):
                    self.past = [*past_runs(warehouse, self.tables, self.sync.name, self.run_id)]
                self._recover(warehouse)
                with counted_alone(self.destination, self.sync, warehouse, self.tables, self.run_id):
                    ready = self._spool(warehouse, lease)
            except BaseException:
                with suppress(RevetlError):
                    leases.release(warehouse, self.tables, lease)
                raise
            if isinstance(ready, Run):
                leases.release(warehouse, self.tables, lease)
            return ready

    def deliver(self, ready: ReadyRun) -> Run:
        """Deliver, write the write-ahead log, commit and record. If the audience no longer exists at the
        destination, send everyone to a new one."""
        try:
            return self._deliver_once(ready)
        except AudienceMissing as missing:
            if self.options.only is not None:
                raise AssertionError("a run of one member ends before") from missing
            again = self._spool_again(ready, missing)
        return again if isinstance(again, Run) else self._deliver_once(again)

    def _spool_again(self, ready: ReadyRun, missing: AudienceMissing) -> ReadyRun | Run:
        """Clear the state of an audience that no longer exists at the destination, and plan again.

        Nothing has been sent. The state is committed before the audience is created, so an interrupted run
        loses no members."""
        self.is_again = True
        to = self.sync.config.to
        self.workspace.say(
            f"{self.sync.name}: the audience '{missing.audience}' no longer exists at '{to}'. "
            f"{self.when_missing}"
        )
        logs.event("audience_missing", sync=self.sync.name, run_id=self.run_id, audience=missing.audience)
        with self._writing() as warehouse:
            leases.renew(warehouse, self.tables, ready.lease)
            with warehouse.transaction():
                forget_held(warehouse, self.tables, self.sync.name, members_only=not missing.everything)
                outbox.drop(warehouse, self.tables, self.sync.name, self.run_id)
                record_identity(warehouse, self.tables, self.sync.name, ready.identity)
            ready.spool.remove()
            again = self._spool(warehouse, ready.lease)
            if isinstance(again, Run):
                leases.release(warehouse, self.tables, ready.lease)
            return again

    def _deliver_once(self, ready: ReadyRun) -> Run:
        with on_disk(ready.spool.folder):
            journal = Journal(ready.spool.folder)
        try:
            return self._deliver_by(ready, journal)
        finally:
            journal.close()

    def _deliver_by(self, ready: ReadyRun, journal: Journal) -> Run:
        self.tables = ready.tables
        carrier = Checkpoint(
            self.tables,
            self.sync.name,
            self.run_id,
            ready.hash_by,
            Presence.of(self.sync.config.mode, self.destination).written,
            ready.spool,
            journal,
            by_key=ready.by_key,
            refused_before=ready.refused_before,
        )
        error: RevetlError | None = None
        try:
            with signals(self.stopper), on_disk(ready.spool.folder), rarely_collected():
                run_to_end(lambda: self._deliver(ready, journal, carrier))
        except RevetlError as refusal:
            error = refusal
        try:
            with on_disk(ready.spool.folder):
                run = self._book(ready, journal, carrier, error)
        except RevetlError:
            # The next run records what is in the write-ahead log.
            if isinstance(error, DiskError):
                raise error from None
            raise
        ready.spool.remove()
        return run

    def _book(self, ready: ReadyRun, journal: Journal, carrier: Checkpoint, error: RevetlError | None) -> Run:
        with self._writing(light=True) as warehouse:
            if self.run_id in outbox.open_runs(warehouse, self.tables, self.sync.name):
                # Otherwise another run has recorded them as sent, and may have continued since.
                carrier.fold(warehouse)
                carrier.fold_rest(warehouse)
                carrier.forget(warehouse, ready.identifiers)
            run = self._ended(ready, journal, error)
            forget_old_changes(warehouse, self.tables, self.workspace.changes_kept_days)
            forget_old_trials(warehouse, self.tables, self.workspace.changes_kept_days)
            with warehouse.transaction():
                outbox.drop(warehouse, self.tables, self.sync.name, self.run_id)
                self._record_identity(warehouse, ready)
                write_run(warehouse, self.tables, run)
                leases.release(warehouse, self.tables, ready.lease)
        if sum(run.attempted.values()):
            remember_run(self.workspace, self.sync.name, self.run_id)
        return run

    def _record_identity(self, warehouse: Warehouse, ready: ReadyRun) -> None:
        """Record the id of the audience at the destination, if it isn't recorded yet."""
        found = None if self.delivery is None else self.delivery.context.audience_id
        before = ready.identity_before
        identity = ready.identity.in_audience(found).kept_from(before)
        if before is None or before.delivered_to.get("audience") != identity.delivered_to.get("audience"):
            record_identity(warehouse, self.tables, self.sync.name, identity)

    @contextmanager
    def _writing(self, **options: Any) -> Iterator[Warehouse]:
        with self.workspace.writing(**options) as warehouse:
            warehouse.comment = query_comment(self.sync.name, self.run_id)
            self.tables = state_tables(self.workspace, warehouse.database)
            yield warehouse

    def _recover(self, warehouse: Warehouse) -> None:
        def crashed(run: Run) -> None:
            # Its row already exists as `running`, without results.
            if self.alerts is not None:
                self.alerts.tell(self.past, run)
            self.past = [run, *self.past]

        folder = runs_folder(self.workspace, self.sync)
        self.recovered = recover(warehouse, self.tables, self.sync.name, folder, crashed)

    def _spool(self, warehouse: Warehouse, lease: leases.Lease) -> ReadyRun | Run:
        options, only = self.options, self.options.only
        planned = plan_changes(
            self.workspace,
            self.sync,
            self.destination,
            warehouse,
            self.tables,
            options,
            marked=self.marked,
            is_run=True,
        )
        plan, diff, key = planned.plan, planned.diff, planned.key
        if diff is None:
            return self._end_early(warehouse, plan, Build(), guards.as_error(plan.stops[0]))
        build, starts_over = diff.facts.build, options.full_refresh and only is None
        self.progress.on_plan(plan)
        about = {"sync": self.sync.name, "run_id": self.run_id}
        logs.event("planned", **about, planned=plan.counts, causes=plan.causes, left_out=plan.left_out)
        if options.expected not in (None, plan.digest) and not self.is_again:
            return self._end_early(warehouse, plan, build, _moved(plan, options, diff.facts.last_sent))
        # Records that are sent at most once are not sent again by a full refresh either, unless the
        # destination points to another account.
        is_kept = diff.presence.at_most_once and not diff.starts_over
        forced = options.force if is_kept else forced_by(options)
        # An audience that no longer exists has no members, whatever the last run sent.
        stops = guards.standing(plan.stops, (*forced, "lost_state") if self.is_again else forced)
        stopped = guards.as_error(stops[0]) if stops else None
        # Part of the remaining members is not the full audience.
        suppressed_only = guards.only_volume(stops) and plan.suppressed and not plan.whole
        if stopped is not None and not suppressed_only:
            return self._end_early(warehouse, plan, build, stopped)
        if diff.facts.unlabelled:
            warehouse.run(label_presence(diff))
        if stopped is not None:
            warehouse.run(keep_only_suppressed())
        else:
            if not diff.removes and only is None:
                warehouse.run(drop_former_identifiers(diff))
            warehouse.run(settle_rehashed(diff))
            if only is None:
                warehouse.run(dismiss_rejections(diff))
        if only is None:
            record_holdouts(self.sync, diff.members, warehouse, self.tables)
        before = Identity.read(diff.facts.identity)
        identity = diff.identity
        if before is not None and not diff.starts_over and "audience" not in identity.delivered_to:
            identity = identity.in_audience(before.delivered_to.get("audience"))
        if before is not None and not diff.starts_over:
            identity = identity.kept_from(before)
        for note in plan.notes:
            self.workspace.say(f"{self.sync.name}: {note}.")
        accepts = starts_over and not diff.facts.knows_run and diff.is_marked
        if accepts:
            identity = identity.accepting(leases.now())
        is_other_key = before is not None and before.key_column != identity.key_column
        if (
            before is None
            or diff.starts_over
            or diff.identity.has_other_key(before)
            or accepts
            or is_other_key
        ):
            with warehouse.transaction():
                if diff.starts_over:
                    forget_held(warehouse, self.tables, self.sync.name)
                record_identity(warehouse, self.tables, self.sync.name, identity)
            before = identity
        if not (plan.changes or plan.kept or plan.whole):
            return self._end_early(warehouse, plan, build, None)
        with warehouse.transaction():
            outbox.intend(warehouse, self.tables, diff, self.run_id)
            if only is not None and plan.changes:
                keep_trial(warehouse, self.tables, self.sync.name, key, self.run_id, plan)
            write_run(warehouse, self.tables, self._run("running", plan, build))
        spool = self._write_run_folder(
            warehouse, plan, build, hash_by=diff.hash_by, presence=diff.presence.written
        )
        if isinstance(spool, Run):
            return spool
        names = tuple(item.name for item in diff.mapping.identifiers)
        return ReadyRun(
            plan,
            spool,
            diff.hash_by,
            self.tables,
            build,
            lease,
            names,
            {item.name: item.type for item in diff.mapping.fields},
            by_key=diff.mapping.by_key,
            refused_before=diff.facts.rejections > 0,
            stopped=stopped,
            identity=identity,
            identity_before=before,
            holds_nobody=self._holds_nobody(diff.facts),
        )

    def _holds_nobody(self, facts: StateSummary) -> bool:
        """Whether the audience may be missing at the destination without losing members."""
        if isinstance(self.destination, HasAudiences):
            return not facts.present.get(MEMBER, 0)
        return not facts.present

    def _write_run_folder(
        self, warehouse: Warehouse, plan: Plan, build: Build, *, hash_by: str, presence: str
    ) -> Spool | Run:
        """Write the spool and the files that recovery reads; return the failed Run if the disk fails."""
        folder = runs_folder(self.workspace, self.sync) / self.run_id
        try:
            with on_disk(folder):
                spool = self._write_spool(warehouse, folder)
                # Written before the file that marks the run for recovery: otherwise it would be lost.
                Journal(folder).close()
                meta = {"run_id": self.run_id, "sync": self.sync.name, "hash_by": hash_by}
                meta["presence"] = presence
                (folder / "run.json").write_bytes(orjson.dumps(meta))
        except DiskError as error:
            return self._not_spooled(warehouse, plan, build, folder, error)
        return spool

    def _ready_by_key(
        self,
        warehouse: Warehouse,
        plan: Plan,
        lease: leases.Lease,
        presence: str,
        identity: Identity,
        before: Identity | None,
    ) -> ReadyRun | Run:
        """Spool outbox rows that come from the state and not from an audience, and return the ready run."""
        spool = self._write_run_folder(warehouse, plan, Build(), hash_by="", presence=presence)
        if isinstance(spool, Run):
            return spool
        return ReadyRun(
            plan,
            spool,
            "",
            self.tables,
            Build(),
            lease,
            (),
            {},
            by_key=True,
            refused_before=True,
            identity=identity,
            identity_before=before,
            holds_nobody=False,
        )

    def _not_spooled(
        self, warehouse: Warehouse, plan: Plan, build: Build, folder: Path, error: DiskError
    ) -> Run:
        """End a run whose spool could not be written: nothing was sent."""
        status, code = status_of(error, 0, None)
        done = outcomes(plan.counts, {})
        run = self._run(
            status, plan, build, finished_at=leases.now(), error=str(error), exit_code=code, **done
        )
        with warehouse.transaction():
            outbox.drop(warehouse, self.tables, self.sync.name, self.run_id)
            write_run(warehouse, self.tables, run)
        Spool(folder).remove()
        return run

    def _write_spool(self, warehouse: Warehouse, folder: Path) -> Spool:
        folder.mkdir(parents=True)
        # Spooled rows are personal data; no other user may read them.
        folder.chmod(0o700)
        spool = Spool(folder)
        for operation in OPERATIONS:
            query = outbox.intended(self.tables, self.sync.name, self.run_id, operation)
            spool.write(operation, warehouse.stream(query, _SPOOL_BATCH))
        return spool

    def _end_early(self, warehouse: Warehouse, plan: Plan, build: Build, stop: GuardStopped | None) -> Run:
        status, code = status_of(stop, 0, None)
        if stop is not None:
            logs.event("guard_stopped", sync=self.sync.name, run_id=self.run_id, guard=stop.guard)
        run = self._run(
            status,
            plan,
            build,
            finished_at=leases.now(),
            stopped_by=stop and stop.guard,
            error=stop and str(stop),
            exit_code=code,
            notes=plan.notes,
            **outcomes(plan.counts, {}),
        )
        write_run(warehouse, self.tables, run)
        return run

    async def _deliver(self, ready: ReadyRun, journal: Journal, carrier: Checkpoint) -> None:
        last_fold = time.monotonic()

        async def follow() -> None:
            nonlocal last_fold
            waiting = await asyncio.to_thread(journal.answers)
            if time.monotonic() - last_fold >= FOLD_SECONDS or waiting >= FOLD_RECORDS:
                # If the warehouse is busy, the checkpoint is tried again later; nothing is lost meanwhile.
                with suppress(WarehouseError):
                    await asyncio.to_thread(self._fold_now, carrier, ready.lease)
                last_fold = time.monotonic()

        before = ready.identity_before
        audience = audience_there(self.sync, self.destination, before)
        from revetl.delivery.deliver import Delivery

        self.delivery = delivery = Delivery(
            destination=self.destination,
            mode=self.sync.config.mode,
            context=replace(
                context_of(self.sync, self.run_id, audience), creates=ready.holds_nobody or self.is_again
            ),
            spool=ready.spool,
            journal=journal,
            shaping=self.shaping,
            fields=ready.fields,
            on_progress=self.progress.on_records,
            on_wait=self.progress.on_wait,
            on_tick=follow,
            may_send=lambda: ready.lease.live,
            ends_whole=ready.plan.whole,
            audience_before=before.delivered_to.get("audience") if before and not self.is_again else None,
            answers=[] if self.options.only is not None else None,
        )
        try:
            with self.stopper.telling(asyncio.get_running_loop(), delivery.stop):
                await delivery.run()
                if not self.stopper.stopped and any(journal.counts()["delivered"].values()):
                    await leave_mark(self.workspace, self.sync, self.destination, delivery.context)
        except AudienceMissing:
            if (renamed := self._renamed(delivery.audience_before)) is not None:
                raise renamed from None
            if self.options.only is not None:
                raise DestinationRefused(
                    f"The audience '{self.sync.audience.name}' no longer exists at '{self.sync.config.to}'. "
                    "Sync the audience without --only to create it again."
                ) from None
            raise
        finally:
            self.adjusted = dict(delivery.adjusted.most_common())
            if self.adjusted:
                about = {"sync": self.sync.name, "run_id": self.run_id}
                logs.event("fields_adjusted", **about, fields=self.adjusted)

    def _renamed(self, audience_id: str | None) -> DestinationRefused | None:
        """Return the refusal for a renamed audience that is missing at the destination: it may still exist
        there under its former name, with all members."""
        was, now, to = self.sync.audience.config.was, self.sync.audience.name, self.sync.config.to
        is_list = isinstance(self.destination, HasAudiences)
        if was in (None, now) or audience_id is None or not is_list or self.options.full_refresh:
            return None
        return DestinationRefused(
            f"'{to}' has no audience '{now}'. Its former name '{was}' (id {audience_id}) may still exist "
            f"there with all members. Rename it at the destination, or set "
            f"`audiences: {{{now}: '{audience_id}'}}` under '{to}' in revetl.yml. If it was deleted, "
            "use --full-refresh to send everyone to a new audience."
        )

    def _fold_now(self, carrier: Checkpoint, lease: leases.Lease) -> None:
        with self._writing(light=True, lock_timeout=0, wait=False) as warehouse:
            leases.renew(warehouse, self.tables, lease)
            carrier.fold(warehouse)
            logs.event("checkpoint", sync=self.sync.name, run_id=self.run_id)

    def _ended(self, ready: ReadyRun, journal: Journal, error: RevetlError | None) -> Run:
        done = outcomes(ready.plan.counts, journal.counts())
        notes = [*ready.plan.notes, withheld_note(self.shaping, self.destination)]
        attempted, *answered = (sum(done[name].values()) for name in ("attempted", "delivered", "rejected"))
        if self.destination.sends_at_most_once(self.sync.config.mode) and attempted > sum(answered):
            notes.append(unknown_note(self.sync, attempted - sum(answered)))
        status, code = status_of(error or ready.stopped, sum(done["rejected"].values()), self.stopper.signal)
        told = [str(each) for each in (error, ready.stopped) if each is not None]
        return self._run(
            status,
            ready.plan,
            ready.build,
            finished_at=leases.now(),
            stopped_by=ready.stopped and ready.stopped.guard,
            error=scrub(logs.redact(" ".join(told))) or None,
            exit_code=code,
            notes=tuple(filter(None, notes)),
            **done,
        )

    def _run(self, status: str, plan: Plan, build: Build, **rest: object) -> Run:
        answers = self.delivery.answers if self.delivery is not None else None
        return Run(
            scope="all" if self.options.only is None else "one",
            answers=tuple(answers or ()),
            run_id=self.run_id,
            sync=self.sync.name,
            audience=self.sync.audience.name,
            destination=self.sync.config.to,
            mode=self.sync.config.mode,
            status=status,
            started_at=self.started_at,
            audience_rows=plan.audience_rows,
            left_out_rows=sum(plan.left_out.values()),
            held_rows=plan.held_rows,
            invalid_identifiers=plan.invalid,
            planned=plan.counts,
            recovered=self.recovered,
            adjusted=self.adjusted,
            forced=self.options.force,
            git_sha=git_sha(self.workspace.root),
            dbt_invocation_id=build.invocation_id,
            **rest,  # type: ignore[arg-type]
        )


def _moved(plan: Plan, options: SyncOptions, last_sent: str | None) -> GuardStopped:
    """Why the plan that was made isn't the plan of now: a run has delivered since, or the data changed."""
    made = options.expected_at
    has_run = made is not None and last_sent is not None and last_sent >= beginning(made)
    if has_run and not plan.changes:
        return GuardStopped(
            "plan",
            f"{plan.sync}: run {last_sent} has delivered since the plan was made, and nothing is left to "
            "send. A plan runs once.",
        )
    why = (
        f"run {last_sent} has delivered since the plan was made"
        if has_run
        else "the audience, its configuration or the state has changed since the plan was made"
    )
    return GuardStopped(
        "plan",
        f"{plan.sync}: {why}. Now it would add {plan.add:,}, update {plan.update:,} and remove "
        f"{plan.remove:,}. Make a new plan with `revetl plan --out`.",
    )
