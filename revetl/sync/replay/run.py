"""Run a replay: read, spool, deliver, log and checkpoint one slice at a time."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from revetl.delivery.disk import on_disk
from revetl.delivery.journal import Journal, Range
from revetl.delivery.scrub import scrub
from revetl.delivery.serializer import withheld_note
from revetl.delivery.shutdown import Stopper, run_to_end, signals
from revetl.delivery.spool import Spool
from revetl.destinations.base.destination import Destination
from revetl.errors import GuardStopped, RevetlError, UsageError, WarehouseError
from revetl.observability import logs, telemetry
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.presence import EVENT
from revetl.sync.plan.preview import context_of
from revetl.sync.replay import store
from revetl.sync.replay.dedupe import FOREVER, deduplicates_for
from revetl.sync.replay.plan import (
    Prepared,
    again_stop,
    base_sync,
    find_destination,
    limited,
    plan_digest,
    prepare,
)
from revetl.sync.replay.request import EVENTS, Hours, ReplayRequest
from revetl.sync.replay.slices import (
    SLICE_MESSAGES,
    Line,
    Slice,
    SliceReader,
    slices_of,
    write_slice,
)
from revetl.sync.replay.store import Outcome, Replay
from revetl.sync.state import leases
from revetl.sync.state.run_ids import new_run_id
from revetl.sync.state.run_log import Run, close_crashed, git_sha, outcomes, running, status_of, write_run
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse
from revetl.warehouse.query_comment import query_comment
from revetl.warehouse.templates import column, statement, table

NOTE_SECONDS = 15.0
"""How often to update the replay's progress in its row and check for a pause request."""
_WAIT_SECONDS = 0.5
ACKNOWLEDGED = table("revetl_replay_acknowledged")


@dataclass
class ReplayProgress:
    """Receives the progress of a replay; the CLI displays it."""

    on_begin: Callable[[Replay], None] = lambda _: None
    on_records: Callable[[int], None] = lambda _: None
    on_wait: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay run.

    `expected` is the digest of the plan that the run must match. `resume` is the ID of the replay to resume.
    """

    again: bool = False
    requests_per_second: float | None = None
    between: Hours | None = None
    expected: str | None = None
    resume: str | None = None


@dataclass(frozen=True)
class ReplayRun:
    """A run of a replay, and the replay's row after it."""

    run: Run
    replay: Replay


def run_replay(
    workspace: Workspace,
    request: ReplayRequest | None,
    options: ReplayOptions,
    progress: ReplayProgress,
    stopper: Stopper | None = None,
) -> ReplayRun:
    """Start a replay, or resume an unfinished one with the same request or with the ID in the options.

    A refusal by the destination and an interruption are returned with an exit code. Errors before anything is
    sent are raised: UsageError, GuardStopped, Locked, WarehouseError.
    """
    if request is None:
        if options.resume is None:
            raise AssertionError("a replay is of a request, or is resumed")
        request = _request_of(workspace, options.resume)
    destination = limited(find_destination(workspace, request.to), options.requests_per_second)
    logs.hide(*destination.secrets())
    runner = _Replayer(workspace, request, options, progress, destination, stopper or Stopper())
    logs.event("run_started", sync=runner.sync.name, run_id=runner.run_id, mode="replay")
    with telemetry.span("revetl.replay", {"revetl.sync": runner.sync.name, "revetl.run_id": runner.run_id}):
        made = runner.run()
    run = made.run
    counts = {name: getattr(run, name) for name in ("planned", "delivered", "rejected", "aborted")}
    about = {"sync": run.sync, "run_id": run.run_id, "status": run.status}
    logs.event("run_finished", **about, **counts, seconds=run.seconds, error=run.error)
    return made


def _request_of(workspace: Workspace, replay_id: str) -> ReplayRequest:
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        (there,) = warehouse.catalog([tables.named("replays")])
        replays = [] if there is None else store.read_replays(warehouse, tables)
    finally:
        warehouse.close()
    found = store.find_replay(replays, replay_id)
    if found.status not in store.OPEN:
        raise UsageError(f"Replay {found.replay_id} is {found.status}, so there is nothing to resume.")
    return found.request


def replays_folder(workspace: Workspace, replay_id: str) -> Path:
    """Return a replay's local folder, with the spool and write-ahead log of the current slice."""
    return workspace.root / ".revetl" / "replays" / workspace.target.name / replay_id


@dataclass
class _Replayer:
    workspace: Workspace
    request: ReplayRequest
    options: ReplayOptions
    progress: ReplayProgress
    destination: Destination
    stopper: Stopper
    run_id: str = field(default_factory=new_run_id)
    delivered: int = 0
    rejected: int = 0
    left_out: int = 0
    unknown: int = 0
    notes: list[str] = field(default_factory=list)
    asked: str | None = None
    adjusted: Counter[str] = field(default_factory=Counter)
    tables: StateTables = field(init=False)
    sync: Sync = field(init=False)

    def __post_init__(self) -> None:
        self.sync = base_sync(self.request.to)
        self.started_at = leases.now()
        self._begun = time.monotonic()

    @contextmanager
    def _writing(self, **options: Any) -> Iterator[Warehouse]:
        with self.workspace.writing(**options) as warehouse:
            warehouse.comment = query_comment(self.sync.name, self.run_id)
            self.tables = state_tables(self.workspace, warehouse.database)
            yield warehouse

    def run(self) -> ReplayRun:
        """Acquire the lease, start or resume, send slice after slice, and record the result."""
        with self._writing() as warehouse:
            self.tables.create(warehouse, self.workspace.say)
            lease = leases.acquire(warehouse, self.tables, self.sync.name, self.run_id)
            try:
                for run_id in running(warehouse, self.tables, self.sync.name):
                    close_crashed(warehouse, self.tables, run_id)
                replay, prepared = self._begin(warehouse)
            except BaseException:
                with suppress(RevetlError):
                    leases.release(warehouse, self.tables, lease)
                raise
        self.progress.on_begin(replay)
        error: RevetlError | None = None
        try:
            with signals(self.stopper):
                self._send_all(replay, prepared, lease)
        except RevetlError as refusal:
            error = refusal
        return self._end(replay, prepared, lease, error)

    def _begin(self, warehouse: Warehouse) -> tuple[Replay, Prepared]:
        replays = store.read_replays(warehouse, self.tables)
        left = self._unfinished(replays)
        request = self.request.fixed() if left is None else left.request
        prepared = prepare(self.workspace, warehouse, request, self.destination)
        if left is not None and left.delivered_to != prepared.delivered_to:
            raise UsageError(
                f"Replay {left.replay_id} was begun to another place under the name '{request.to}'. Cancel "
                f"it with `revetl replays cancel {left.replay_id}`, and begin another."
            )
        if self.options.expected not in (None, plan_digest(prepared, request)):
            raise GuardStopped(
                "plan",
                f"{self.sync.name}: the messages or the mapping have changed since the plan was made. Make "
                "the plan again.",
            )
        self.request = request
        if left is not None:
            self.workspace.say(
                f"{self.sync.name}: resuming replay {left.replay_id}, begun at "
                f"{left.created_at:%Y-%m-%d %H:%M} UTC, with {left.slices_done} of {left.slices} slices done."
            )
            store.update_replay(
                warehouse, self.tables, left.replay_id, status=store.RUNNING, asked=None, run_id=self.run_id
            )
            self._write_run(warehouse, "running", left.remaining)
            return replace(left, status=store.RUNNING, run_id=self.run_id), prepared
        if not self.options.again:
            stop = again_stop(warehouse, self.tables, request, prepared)
            if stop is not None:
                raise GuardStopped(stop.guard, stop.message)
        replay = Replay(
            replay_id=self.run_id,
            destination=request.to,
            delivered_to=prepared.delivered_to,
            request=request,
            messages=prepared.survey.messages,
            slice_messages=SLICE_MESSAGES,
            status=store.RUNNING,
            planned=prepared.survey.total,
            run_id=self.run_id,
        )
        replay = replace(replay, slices=len(_slices(replay, prepared)))
        store.create_replay(warehouse, self.tables, replay)
        self._write_run(warehouse, "running", replay.planned)
        return replay, prepared

    def _unfinished(self, replays: Sequence[Replay]) -> Replay | None:
        if self.options.resume is not None:
            return store.find_replay(replays, self.options.resume)
        for each in replays:
            if each.status in store.OPEN and _is_same(each.request, self.request):
                return each
        return None

    def _send_all(self, replay: Replay, prepared: Prepared, lease: leases.Lease) -> None:
        lines = {line.types: line for line in prepared.lines}
        with self._writing(light=True) as warehouse:
            done = store.done_slices(warehouse, self.tables, replay.replay_id)
        for number in done:
            # The process ended after the checkpoint but before the folder was removed.
            shutil.rmtree(_folder(self.workspace, replay, number), ignore_errors=True)
        for part in _slices(replay, prepared):
            if part.number in done:
                continue
            self._await_hours(replay, lease)
            if self._is_over:
                return
            replay = self._send(replay, prepared, lines[part.types], part, lease)
            if self._is_over:
                return

    @property
    def _is_over(self) -> bool:
        return self.stopper.stopped or self.asked is not None

    def _await_hours(self, replay: Replay, lease: leases.Lease) -> None:
        """Wait for the allowed hours before reading the slice, so that it is read in its current state."""
        hours = self.options.between
        if hours is None or hours.has(leases.now()):
            return
        wait = hours.seconds_until(leases.now())
        self.progress.on_wait(f"{self.sync.name}: waiting for {hours.text} UTC ({wait / 3600:.1f} hours).")
        noted = time.monotonic()
        while not hours.has(leases.now()) and not self._is_over:
            time.sleep(_WAIT_SECONDS)
            if time.monotonic() - noted >= NOTE_SECONDS:
                noted = time.monotonic()
                with suppress(WarehouseError):
                    self._note(replay, lease, 0, 0)

    def _send(
        self, replay: Replay, prepared: Prepared, line: Line, part: Slice, lease: leases.Lease
    ) -> Replay:
        """Read, spool, deliver and checkpoint one slice."""
        folder = _folder(self.workspace, replay, part.number)
        attempts = sorted(folder.glob("*")) if folder.exists() else []
        spool = Spool(folder / self.run_id)
        with on_disk(folder):
            done = _answered(attempts)
        with self._writing() as warehouse:
            leases.renew(warehouse, self.tables, lease)
            source = replace(prepared.source, warehouse=warehouse)
            # Messages that syncs delivered in the meantime count as left out; those that earlier attempts
            # at this slice delivered (`done`) do not.
            reader = SliceReader(source, self.tables, prepared.live, self.options.again)
            records = reader.read(line, part, replay.replay_id, done)
            with on_disk(folder):
                spool.folder.mkdir(parents=True)
                folder.chmod(0o700)
                spool.folder.chmod(0o700)
                lanes = write_slice(warehouse, records, spool)
        with on_disk(folder):
            journal = Journal(spool.folder)
        try:
            with on_disk(folder):
                run_to_end(lambda: self._deliver(replay, line, spool, journal, lanes, reader.fields, lease))
        finally:
            counts = journal.counts()
            self.delivered += sum(counts["delivered"].values())
            self.rejected += sum(counts["rejected"].values())
            self.unknown += sum(counts["unknown"].values())
            journal.close()
        if self._is_over and self._count_open(spool):
            return replay
        return self._book(replay, prepared, part, folder, sum(reader.left_out.values()), lease)

    def _count_open(self, spool: Spool) -> int:
        """Count the records of an attempt without a response."""
        journal = Journal(spool.folder, is_there=True)
        try:
            return spool.rows("add") - sum(cut.last - cut.first for cut in _ranges(journal))
        finally:
            journal.close()

    async def _deliver(
        self,
        replay: Replay,
        line: Line,
        spool: Spool,
        journal: Journal,
        lanes: list[Range],
        fields: Mapping[str, str],
        lease: leases.Lease,
    ) -> None:
        from revetl.delivery.deliver import Delivery

        noted = time.monotonic()

        async def follow() -> None:
            nonlocal noted
            if time.monotonic() - noted < NOTE_SECONDS:
                return
            noted = time.monotonic()
            counts = await asyncio.to_thread(journal.counts)
            done = (sum(counts["delivered"].values()), sum(counts["rejected"].values()))
            with suppress(WarehouseError):
                await asyncio.to_thread(self._note, replay, lease, *done)
            if self.asked is not None:
                delivery.stop.set()

        hours = self.options.between
        delivery = Delivery(
            destination=line.destination,
            mode=line.mode,
            context=replace(
                context_of(line.sync, replay.replay_id, line.sync.audience.name), has_message_ids=True
            ),
            spool=spool,
            journal=journal,
            shaping=line.shaping,
            fields=fields,
            on_progress=self.progress.on_records,
            on_wait=self.progress.on_wait,
            on_tick=follow,
            may_send=lambda: lease.live and (hours is None or hours.has(leases.now())),
            lanes=lanes,
        )
        if not lanes:
            return
        try:
            with self.stopper.telling(asyncio.get_running_loop(), delivery.stop):
                await delivery.run()
        finally:
            self.adjusted.update(delivery.adjusted)

    def _note(self, replay: Replay, lease: leases.Lease, delivered: int, rejected: int) -> None:
        """Renew the lease, save the progress, and check for a pause request."""
        with self._writing(light=True, lock_timeout=0, wait=False) as warehouse:
            leases.renew(warehouse, self.tables, lease)
            name = replay.replay_id
            self.asked = self.asked or store.asked_of(warehouse, self.tables, name)
            store.update_replay(
                warehouse,
                self.tables,
                name,
                delivered=replay.delivered + delivered,
                rejected=replay.rejected + rejected,
                worked_seconds=replay.worked_seconds + self._worked(),
            )

    def _worked(self) -> int:
        return round(time.monotonic() - self._begun)

    def _book(
        self,
        replay: Replay,
        prepared: Prepared,
        part: Slice,
        folder: Path,
        left_out: int,
        lease: leases.Lease,
    ) -> Replay:
        """Checkpoint a slice in one transaction, and delete its local files."""
        attempts = sorted(folder.glob("*"))
        with on_disk(folder):
            outcome = _outcome(attempts, left_out)
        worked = self._worked()
        self._begun = time.monotonic()
        after = replace(
            replay,
            slices_done=replay.slices_done + 1,
            delivered=replay.delivered + outcome.delivered_total,
            rejected=replay.rejected + outcome.rejected_total,
            left_out=replay.left_out + outcome.left_out,
            worked_seconds=replay.worked_seconds + worked,
        )
        with self._writing(light=True) as warehouse:
            leases.renew(warehouse, self.tables, lease)
            live = prepared.live if part.types[0] in EVENTS else ()
            if live:
                warehouse.load(ACKNOWLEDGED, _acknowledged(attempts))
            there = warehouse.catalog([sync.audience.relation for sync in live]) if live else []
            with warehouse.transaction():
                store.book_slice(
                    warehouse,
                    self.tables,
                    after,
                    part.number,
                    (part.first, part.end),
                    part.types,
                    outcome,
                )
                for sync, columns in zip(live, there, strict=True):
                    if columns is not None:
                        warehouse.run(self._held_by(sync))
                store.update_replay(
                    warehouse,
                    self.tables,
                    after.replay_id,
                    slices_done=after.slices_done,
                    delivered=after.delivered,
                    rejected=after.rejected,
                    left_out=after.left_out,
                    worked_seconds=after.worked_seconds,
                )
            self.asked = self.asked or store.asked_of(warehouse, self.tables, after.replay_id)
        shutil.rmtree(folder, ignore_errors=True)
        self.left_out += outcome.left_out
        logs.event("checkpoint", sync=self.sync.name, run_id=self.run_id)
        return after

    def _held_by(self, sync: Sync) -> Any:
        """Insert the delivered messages into the state of an event sync, so that it does not send them too.

        If the destination deduplicates forever, only insert messages that are in the sync's model now.
        """
        return statement(
            """
            insert into :state (
                sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id, presence
            )
            select :sync, k.key, 0, :hash_by, k.identifiers, '{}', :now, :run_id, :presence
            from :acknowledged as k
            where :is_needed
            and k.key not in (select s.key from :state as s where s.sync = :sync)
            """,
            state=self.tables.state,
            sync=sync.name,
            hash_by="replay",
            now=leases.now(),
            run_id=self.run_id,
            presence=EVENT,
            acknowledged=ACKNOWLEDGED,
            is_needed=exp.true()
            if deduplicates_for(self.destination) != FOREVER
            else statement(
                "k.key in (select cast(:message_id as varchar) from :model as a)",
                message_id=column("message_id", of="a"),
                model=sync.audience.relation,
            ),
        )

    def _end(
        self, replay: Replay, prepared: Prepared, lease: leases.Lease, error: RevetlError | None
    ) -> ReplayRun:
        signal = self.stopper.signal
        with self._writing(light=True) as warehouse:
            self.asked = self.asked or store.asked_of(warehouse, self.tables, replay.replay_id)
            found = store.find_replay(store.read_replays(warehouse, self.tables), replay.replay_id)
            is_done = found.slices_done >= found.slices
            status, code = status_of(error, found.rejected if is_done else 0, signal)
            if error is None and not is_done and self.asked is not None:
                status, code = ("paused" if self.asked == store.PAUSE else "canceled"), 0
            now = {
                "success": store.SUCCESS if is_done else store.INTERRUPTED,
                "rejected": store.REJECTED,
                "paused": store.PAUSED,
                "canceled": store.CANCELED,
                "refused": store.REFUSED,
            }.get(status, store.INTERRUPTED)
            store.update_replay(warehouse, self.tables, replay.replay_id, status=now, asked=None)
            run = self._write_run(
                warehouse,
                status,
                replay.planned - replay.delivered - replay.rejected - replay.left_out,
                error=scrub(logs.redact(str(error))) if error is not None else None,
                exit_code=code,
                finished_at=leases.now(),
                prepared=prepared,
            )
            leases.release(warehouse, self.tables, lease)
        if now == store.CANCELED:
            shutil.rmtree(replays_folder(self.workspace, replay.replay_id), ignore_errors=True)
        return ReplayRun(run, replace(found, status=now, asked=None))

    def _write_run(
        self,
        warehouse: Warehouse,
        status: str,
        planned: int,
        *,
        prepared: Prepared | None = None,
        **rest: Any,
    ) -> Run:
        done = outcomes(
            {"add": max(0, planned - self.left_out)},
            {
                "delivered": {"add": self.delivered},
                "rejected": {"add": self.rejected},
                "unknown": {"add": self.unknown},
            },
        )
        notes = dict.fromkeys(
            note
            for line in (prepared.lines if prepared is not None else ())
            if (note := withheld_note(line.shaping, line.destination)) is not None
        )
        run = Run(
            kind="replay",
            run_id=self.run_id,
            sync=self.sync.name,
            audience=self.sync.audience.name,
            destination=self.request.to,
            mode="events",
            status=status,
            started_at=self.started_at,
            audience_rows=planned,
            left_out_rows=self.left_out,
            planned={"add": max(0, planned - self.left_out)},
            adjusted=dict(self.adjusted.most_common()),
            git_sha=git_sha(self.workspace.root),
            notes=tuple(notes),
            **done,  # type: ignore[arg-type]
            **rest,
        )
        write_run(warehouse, self.tables, run)
        return run


def _slices(replay: Replay, prepared: Prepared) -> list[Slice]:
    """Return the slices of a replay, which are the same after each resume."""
    return slices_of(replay.messages, [line.types for line in prepared.lines], replay.slice_messages)


def _folder(workspace: Workspace, replay: Replay, number: int) -> Path:
    return replays_folder(workspace, replay.replay_id) / f"{number:06d}"


def _is_same(before: ReplayRequest, now: ReplayRequest) -> bool:
    """Test whether two requests are the same; the second one may omit the end of the window."""
    return before == (replace(now, until=before.until) if now.until is None else now)


def _ranges(journal: Journal) -> list[Range]:
    """Return the ranges with a response, in order."""
    rows = journal.unfolded(2**31)
    return sorted((cut for _, cut in rows), key=lambda cut: cut.first)


@contextmanager
def _attempt(folder: Path) -> Iterator[tuple[Spool, Journal]]:
    journal = Journal(folder, is_there=True)
    try:
        yield Spool(folder), journal
    finally:
        journal.close()


def _attempts(folders: Sequence[Path]) -> Iterator[tuple[Spool, Journal]]:
    """Yield the attempts at a slice that got far enough to send something."""
    for folder in folders:
        if (folder / "journal.sqlite").exists() and (folder / "add.parquet").exists():
            with _attempt(folder) as attempt:
                yield attempt


def _answered(folders: Sequence[Path]) -> pa.Table | None:
    """Return the IDs of messages that earlier attempts delivered or had rejected."""
    keys = [
        batch for spool, journal in _attempts(folders) for _, batch in spool.read(_ranges(journal), ("key",))
    ]
    return pa.Table.from_batches(keys) if keys else None


def _acknowledged(folders: Sequence[Path]) -> pa.Table:
    """Return a slice's messages that the destination accepted."""
    found: list[pa.RecordBatch] = []
    for spool, journal in _attempts(folders):
        for cut, batch in spool.read(_ranges(journal), ("key", "identifiers")):
            refused = journal.rejections(cut)
            if refused:
                kept = [at for at in range(batch.num_rows) if cut.first + at not in refused]
                batch = batch.take(pa.array(kept, pa.int64()))
            found.append(batch)
    schema = pa.schema([("key", pa.string()), ("identifiers", pa.string())])
    return pa.Table.from_batches(found, schema=schema)


def _outcome(folders: Sequence[Path], left_out: int) -> Outcome:
    """Summarize the outcome of a slice over all attempts."""
    delivered: Counter[tuple[str, str]] = Counter()
    rejected: dict[tuple[str, str | None], tuple[int, str]] = {}
    for spool, journal in _attempts(folders):
        for cut, batch in spool.read(_ranges(journal), ("key", "cause", "caused_at")):
            delivered.update(_days(batch))
            for place, why in journal.rejections(cut).items():
                at = place - cut.first
                delivered.subtract(_days(batch.slice(at, 1)))
                named = (store.grouped(why.reason), why.field)
                count, example = rejected.get(named, (0, str(batch.column("key")[at].as_py())))
                rejected[named] = (count + 1, example)
    return Outcome({name: count for name, count in delivered.items() if count}, rejected, left_out)


def _days(batch: pa.RecordBatch) -> dict[tuple[str, str], int]:
    """Count messages by type and day."""
    import pyarrow.compute as pc

    days: Any = pc.cast(batch.column("caused_at"), pa.date32())
    grouped = pa.table({"kind": batch.column("cause"), "day": days}).group_by(["kind", "day"])
    counted = grouped.aggregate([([], "count_all")]).to_pydict()
    rows = zip(counted["kind"], counted["day"], counted["count_all"], strict=True)
    return {(str(kind), str(day)): int(count) for kind, day, count in rows}
