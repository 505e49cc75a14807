"""The public Python API: `revetl.Project(".").sync("high_churn")`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revetl.dbt.project_files import Options
from revetl.dbt.selectors import select_models
from revetl.errors import RevetlError, Unexpected, UsageError, nearest
from revetl.project.workspace import (
    AudienceModel,
    Say,
    Sync,
    Workspace,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from sqlglot import exp

    from revetl.auth import SignInOptions, Status
    from revetl.destinations.auth.store import SignIn
    from revetl.importers.segment_sql.importing import ImportedAudience
    from revetl.ingest.collector.app import Collector
    from revetl.ingest.collector.run import CollectorOptions
    from revetl.ingest.collector.segments import Backlog
    from revetl.ingest.load import LoadProgress as LoadProgress
    from revetl.ingest.load import LoadResult
    from revetl.inspect.audience_preview import AudiencePreview
    from revetl.inspect.data_alerts import CheckResult
    from revetl.inspect.explain import Explanation
    from revetl.inspect.explain.answer import AudienceOfPerson
    from revetl.inspect.overlap import Overlap
    from revetl.sync.plan.options import SyncOptions
    from revetl.sync.plan.plan import Plan
    from revetl.sync.reconcile import Reconciliation
    from revetl.sync.replay.plan import ReplayPlan
    from revetl.sync.replay.request import ReplayRequest
    from revetl.sync.replay.run import ReplayProgress, ReplayRun
    from revetl.sync.replay.store import Replay
    from revetl.sync.retire import UnattendedSync
    from revetl.sync.run import Progress, Runner
    from revetl.sync.state.run_log import Run

SAMPLE = 2
_ARROW_ROWS = 100_000


def undoing() -> type[Runner]:
    """The kind of run that takes back what a run of one member did."""
    from revetl.sync.undo import Undo

    return Undo


@dataclass(frozen=True)
class Audience:
    """An audience of a project: a dbt model, and where it goes."""

    workspace: Workspace
    model: AudienceModel

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def key(self) -> str:
        """The column that names a person."""
        return self.model.key

    @property
    def description(self) -> str:
        return self.model.model.description

    @property
    def tags(self) -> tuple[str, ...]:
        return self.model.model.tags

    @property
    def syncs(self) -> tuple[Sync, ...]:
        return self.model.syncs

    def to_arrow(self) -> pa.Table:
        """The members as they were last built. Raises WarehouseError when they were not."""
        import pyarrow as pa

        from revetl.warehouse.templates import statement

        warehouse = self.workspace.warehouse(read_only=True)
        try:
            model = self.workspace.built(self.model, warehouse)
            query = statement("select * from :model as a", model=model)
            return pa.Table.from_batches(warehouse.stream(query, _ARROW_ROWS))
        finally:
            warehouse.close()

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow()` as a pandas data frame."""
        return self.to_arrow().to_pandas()

    def preview(self, *, sample: int = 5) -> AudiencePreview:
        """What the model's SQL as it is on disk would give now, with `sample` rows of it; nothing is built.
        Raises UsageError for what dbt cannot compile."""
        from revetl.inspect.audience_preview import preview_audience

        return preview_audience(self.workspace, self.name, sample=sample)


def chosen_models(
    workspace: Workspace,
    names: Sequence[str] = (),
    *,
    to: str | None = None,
    select: str | None = None,
    exclude: str | None = None,
    selector: str | None = None,
    state: str | Path | None = None,
) -> list[tuple[str, str | None]]:
    """What `Project.select_audiences` chooses, by name and whether or not it is configured right: each
    audience, and the destination that is meant (None for all). Raises UsageError when there is none."""
    if names:
        return _named(workspace, names, to)
    ids = select_models(
        workspace.manifest,
        workspace.dbt,
        workspace.options,
        select=select,
        exclude=exclude,
        selector=selector,
        state=None if state is None else Path(state),
        say=workspace.say,
    )
    return [(model.name, to) for model in workspace.models() if model.unique_id in ids]


def _named(workspace: Workspace, names: Sequence[str], to: str | None) -> list[tuple[str, str | None]]:
    """Names of audiences, or of syncs (`audience.destination`), as audience and destination. Raises
    UsageError for a name that is not there, and for a sync to another destination than `to`."""
    models = {model.name for model in workspace.models()}
    found: list[tuple[str, str | None]] = []
    for name in names:
        audience, _, destination = name.partition(".")
        if name in models:
            found.append((name, to))
        elif audience not in models or not destination:
            raise workspace.no_audience(name)
        elif to is not None and to != destination:
            raise UsageError(f"--to {to}: {name} is the sync to '{destination}'. Leave --to out.")
        else:
            found.append((audience, destination))
    return found


class Project:
    """A dbt project with revetl in it.

    `path` is its folder (or one below it); `profiles_dir`, `profile`, `target` and `vars` mean what they
    mean to dbt, and `dbt` is the dbt to run. `say` gets messages about slow steps. Raises UsageError for
    invalid configuration.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        profiles_dir: str | Path | None = None,
        profile: str | None = None,
        target: str | None = None,
        vars: str | None = None,
        dbt: str | Path | None = None,
        lock_timeout: float = 60.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        options = Options(
            project_dir=None if path is None else Path(path),
            profiles_dir=None if profiles_dir is None else Path(profiles_dir),
            profile=profile,
            target=target,
            vars=vars,
            dbt=None if dbt is None else Path(dbt),
        )
        self.workspace = Workspace(options, lock_timeout=lock_timeout, say=say)

    @property
    def audiences(self) -> list[Audience]:
        """Every audience, by name."""
        return [Audience(self.workspace, model) for model in self.workspace.audiences()]

    def audience(self, name: str) -> Audience:
        """The audience `name`. Raises UsageError with the nearest name there is."""
        return Audience(self.workspace, self.workspace.audience(name))

    def select(
        self,
        name: str | None = None,
        *,
        to: str | None = None,
        select: str | None = None,
        exclude: str | None = None,
        selector: str | None = None,
        state: str | Path | None = None,
        paused: bool = False,
    ) -> list[Sync]:
        """The syncs of one audience, the one sync `audience.destination`, those of a selection in dbt's
        syntax (`selector` is one of selectors.yml), or of the whole project; `to` leaves other destinations
        out. `state` is the folder of the artifacts that `state:` compares with. Paused syncs are left out,
        unless `paused`. Raises UsageError when there is none."""
        names = () if name is None else (name,)
        by_dbt: dict[str, Any] = {"select": select, "exclude": exclude, "selector": selector, "state": state}
        workspace = self.workspace
        if name is not None:
            ((audience, destination),) = _named(self.workspace, names, to)
            named = workspace.syncs(workspace.audience(audience), destination)
            awake = [sync for sync in named if paused or not sync.paused]
            if not awake:
                raise UsageError(
                    f"{named[0].name} is paused: `enabled: false`. Enable it, or remove its members with "
                    f"`revetl retire {name}`."
                )
            return awake
        found = self.select_syncs(names, to=to, **by_dbt)
        awake = [sync for sync in found if paused or not sync.paused]
        if to is not None and not awake:
            raise UsageError(f"--to {to}: every sync to it is paused: `enabled: false`. Enable one.")
        return awake

    def select_audiences(
        self,
        names: Sequence[str] = (),
        *,
        to: str | None = None,
        select: str | None = None,
        exclude: str | None = None,
        selector: str | None = None,
        state: str | Path | None = None,
    ) -> list[tuple[Audience, tuple[Sync, ...]]]:
        """Audiences, each with the syncs that are meant: those of `names` (of audiences, or of syncs), of a
        selection as `select` has it, or all; paused syncs are among them. With `to`, only audiences that have
        a sync to it. Raises UsageError when there is none."""
        workspace = self.workspace
        chosen = chosen_models(
            workspace, names, to=to, select=select, exclude=exclude, selector=selector, state=state
        )
        found: list[tuple[Audience, tuple[Sync, ...]]] = []
        known: set[str] = set()
        for name, destination in chosen:
            model = workspace.audience(name)
            known |= {sync.config.to for sync in model.syncs}
            if names and destination is not None:
                syncs = tuple(workspace.syncs(model, destination))
            else:
                syncs = tuple(sync for sync in model.syncs if destination in (None, sync.config.to))
            if syncs or destination is None:
                found.append((Audience(workspace, model), syncs))
        if to is not None and not found:
            raise UsageError(f"--to {to}: no audience has a sync to it. {nearest(to, known)}")
        return found

    def select_syncs(self, names: Sequence[str] = (), **selection: Any) -> list[Sync]:
        """The syncs of `select_audiences`."""
        return [sync for _, syncs in self.select_audiences(names, **selection) for sync in syncs]

    def audiences_to(
        self, names: Sequence[str] = (), *, to: str | None = None, **selection: Any
    ) -> list[tuple[Audience, str | None]]:
        """The audiences of `select_audiences`, each with the destination that is meant; None for all."""
        if names:
            return [
                (self.audience(name), destination) for name, destination in _named(self.workspace, names, to)
            ]
        return [(audience, to) for audience, _ in self.select_audiences(to=to, **selection)]

    def runnable(self, syncs: Sequence[Sync], *, named: bool) -> list[Sync]:
        """Those of `syncs` whose destinations are for this target; the others are skipped, which `say` is
        told. Raises UsageError where they were `named` and none is left."""
        here = [sync for sync in syncs if self.workspace.is_for_target(sync)]
        others = [sync for sync in syncs if not self.workspace.is_for_target(sync)]
        if named and others and not here:
            self.workspace.check_target(others[0])
        for sync in others:
            self.workspace.say(f"{sync.name}: skipped: {self.workspace.other_target(sync)}")
        return here

    def unattended(self) -> list[UnattendedSync]:
        """The syncs that hold people and that no run touches: orphaned (the project has them no more) or
        paused (not `enabled`)."""
        from revetl.sync.retire import unattended
        from revetl.sync.state.tables import state_tables

        warehouse = self.workspace.warehouse(read_only=True)
        try:
            tables = state_tables(self.workspace, warehouse.database)
            return unattended(self.workspace, warehouse, tables)
        finally:
            warehouse.close()

    def opt_outs(self) -> list[Sync]:
        """The unattended syncs that hold suppressed people, where the destination is there still."""
        from revetl.sync.opt_outs import suppressed
        from revetl.sync.retire import as_sync, retirement_plan
        from revetl.sync.state.tables import state_tables

        there = self.workspace.config.destinations
        left = [
            as_sync(self.workspace, each)
            for each in self.unattended()
            if each.removes and each.destination in there and each.mode != "archive"
        ]
        if not left:
            return []
        warehouse = self.workspace.warehouse(read_only=True)
        try:
            tables = state_tables(self.workspace, warehouse.database)
            if not warehouse.exists(tables.suppressions):
                return []
            return [
                sync
                for sync in left
                if retirement_plan(
                    warehouse,
                    tables,
                    sync,
                    suppressed(
                        warehouse,
                        tables,
                        sync.name,
                        self.workspace.destination(sync, placeholders=True),
                    ),
                ).remove
            ]
        finally:
            warehouse.close()

    def to_retire(
        self,
        name: str | None = None,
        *,
        everything: bool = False,
        to: str | None = None,
        select: str | None = None,
        exclude: str | None = None,
        selector: str | None = None,
        state: str | Path | None = None,
    ) -> list[Sync]:
        """What `revetl retire` is about: every orphaned and paused sync with `everything`; else as `select`
        has it, where `name` may be that of an orphaned sync or audience. Raises UsageError when there is
        none."""
        from revetl.sync.retire import as_sync

        if name is None and not everything:
            return self.select(
                to=to, select=select, exclude=exclude, selector=selector, state=state, paused=True
            )
        left = [each for each in self.unattended() if to in (None, each.destination)]
        if everything:
            return [as_sync(self.workspace, each) for each in left]
        models = {model.name for model in self.workspace.models()}
        named = [
            each
            for each in left
            if each.sync == name or (each.audience == name and each.audience not in models)
        ]
        return [as_sync(self.workspace, each) for each in named] or self.select(name, to=to, paused=True)

    def retirements(self, syncs: Sequence[Sync]) -> list[Plan]:
        """What retiring each would do. Changes nothing."""
        from revetl.sync.retire import REMOVING, retirement_plan
        from revetl.sync.state.tables import state_tables
        from revetl.warehouse.templates import statement

        warehouse = self.workspace.warehouse(read_only=True)
        try:
            tables = state_tables(self.workspace, warehouse.database)
            return [
                retirement_plan(
                    warehouse, tables, sync, statement("1 = 1" if sync.config.mode in REMOVING else "1 = 0")
                )
                for sync in syncs
            ]
        finally:
            warehouse.close()

    def sync_named(self, name: str) -> Sync:
        """The sync `audience.destination`. Raises UsageError with the nearest name there is."""
        syncs = {sync.name: sync for audience in self.workspace.audiences() for sync in audience.syncs}
        if name not in syncs:
            raise UsageError(f"There is no sync '{name}'. {nearest(name, syncs, all_of_them=True)}")
        return syncs[name]

    def plan(
        self,
        name: str | None = None,
        *,
        to: str | None = None,
        select: str | None = None,
        exclude: str | None = None,
        selector: str | None = None,
        state: str | Path | None = None,
        full_refresh: bool = False,
        retry: bool = False,
        sample: int = SAMPLE,
        compare_target: str | None = None,
        only: str | None = None,
    ) -> list[Plan]:
        """What each sync would do, with the exact requests for `sample` records an operation. Changes
        nothing and needs no secret. With `compare_target`, what this target's audiences would do to what
        that target's syncs have delivered; with `only`, what becomes of this one member."""
        from revetl.inspect.unseen_names import say_unseen
        from revetl.sync.plan.options import SyncOptions
        from revetl.sync.plan.planner import plan_sync

        options = SyncOptions(full_refresh=full_refresh, retry=retry, only=only)
        syncs = self.select(name, to=to, select=select, exclude=exclude, selector=selector, state=state)
        if compare_target is None:
            syncs = self.runnable(syncs, named=name is not None)
        say_unseen(self.workspace, self.workspace.say, {sync.audience.model.unique_id for sync in syncs})
        return [
            plan_sync(self.workspace, sync, self.for_one(sync, options), sample, compare_target)
            for sync in syncs
        ]

    def sync(
        self,
        name: str | None = None,
        *,
        to: str | None = None,
        select: str | None = None,
        exclude: str | None = None,
        selector: str | None = None,
        state: str | Path | None = None,
        full_refresh: bool = False,
        retry: bool = False,
        force: Sequence[str] = (),
        threads: int = 1,
        progress: Progress | None = None,
        only: str | None = None,
        undo: bool = False,
    ) -> list[Run]:
        """Run each sync and give what it did; a run that was stopped, refused or had records rejected says so
        in its status and `exit_code`. With `only`, just this member is sent, who is named by the key or any
        identifier, and the run has the `answers` of the destination; with `undo`, what such a run did is
        taken back. Raises Locked, UsageError and WarehouseError, when all that could run have."""
        from revetl.sync.plan.options import SyncOptions
        from revetl.sync.state.run_log import Run

        options = SyncOptions(full_refresh=full_refresh, retry=retry, force=tuple(force), only=only)
        if undo and only is None:
            raise UsageError("undo: name the member with only.")
        syncs = self.select(name, to=to, select=select, exclude=exclude, selector=selector, state=state)
        syncs = self.runnable(syncs, named=name is not None)
        work = [(sync, self.for_one(sync, options)) for sync in syncs]
        outcomes = self.run_all(work, threads=threads, progress=progress, kind=undoing() if undo else None)
        for outcome in outcomes:
            if isinstance(outcome, RevetlError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Run)]

    def for_one(self, sync: Sync, options: SyncOptions) -> SyncOptions:
        """The options of a run of one member, with the keys that the identity graph has for it."""
        if options.only is None:
            return options
        from revetl.inspect.explain.person import find_person

        warehouse = self.workspace.warehouse(read_only=True)
        try:
            person = find_person(self.workspace, sync.audience, options.only, warehouse)
        except UsageError:
            # It is known of several people; the audience may have only one of them.
            return options
        finally:
            warehouse.close()
        return replace(options, only_keys=person.keys if person.is_resolved else ())

    def run(self, sync: Sync, options: SyncOptions, progress: Progress | None = None) -> Run:
        """Run one sync. Raises as `sync` does."""
        (outcome,) = self.run_all([(sync, options)], progress=progress)
        if isinstance(outcome, RevetlError):
            raise outcome
        return outcome

    def run_all(
        self,
        work: Sequence[tuple[Sync, SyncOptions]],
        *,
        threads: int = 1,
        progress: Progress | None = None,
        on_end: Callable[[Sync, Run | RevetlError], None] = lambda *_: None,
        kind: type[Runner] | None = None,
    ) -> list[Run | RevetlError]:
        """Run syncs, up to `threads` at once, one failing not keeping the others from running; gives what
        became of each, in order, and tells `on_end` as it happens. A signal stops what is under way in order
        and begins nothing more."""
        from revetl.delivery.shutdown import Stopper, signals
        from revetl.observability import logs
        from revetl.observability.alerts import Alerts
        from revetl.sync.run import Progress, run_sync

        stopper = Stopper()
        ends = threading.Lock()

        def one(sync: Sync, options: SyncOptions) -> Run | RevetlError | None:
            if stopper.stopped:
                return None
            outcome: Run | RevetlError
            try:
                outcome = run_sync(
                    self.workspace, sync, options, progress or Progress(), stopper, alerts, kind
                )
            except RevetlError as error:
                outcome = error
            except Exception as error:
                import traceback

                # A fault in one sync keeps no other from running; the next run books what this one did.
                outcome = Unexpected(
                    f"{sync.name}: revetl failed for a reason of its own ({type(error).__name__}). Please "
                    f"report it with what follows.\n{logs.redact(traceback.format_exc())}"
                )
            with ends:
                on_end(sync, outcome)
            return outcome

        names = [sync.name for sync, _ in work]
        with Alerts(self.workspace.config.alerts, names, self.workspace.say) as alerts:
            logs.hide(*alerts.secrets())
            if threads == 1:
                outcomes = [one(*each) for each in work]
            else:
                from concurrent.futures import ThreadPoolExecutor

                # The manifest is read, and the destinations' models are built, before there are threads that
                # would do so at once.
                _ = self.workspace.manifest
                for sync, _ in work:
                    with suppress(UsageError):
                        self.workspace.destination_class(sync).model_rebuild()
                with signals(stopper), ThreadPoolExecutor(threads, "revetl-sync") as pool:
                    outcomes = list(pool.map(lambda each: one(*each), work))
        return [outcome for outcome in outcomes if outcome is not None]

    def adopt(self, syncs: Sequence[Sync]) -> list[dict[str, Any]]:
        """Record this warehouse, target and destination as those that the state of each sync is of, keeping
        what it holds, and forget which runs this machine remembers; gives what was and is."""
        from revetl.sync.adopting import adopt_state

        return adopt_state(self.workspace, syncs)

    def identities(self, syncs: Sequence[Sync]) -> list[dict[str, Any]]:
        """Of each sync, the warehouse, target and destination that its state is of, those of now, and
        `stops`: why a run would stop for them. Changes nothing and needs no secret."""
        from revetl.sync.adopting import state_identities

        return state_identities(self.workspace, syncs)

    def status(self, name: str | None = None, **selection: Any) -> list[dict[str, Any]]:
        """The last run of every sync, what its destination holds, what it rejected, and whether it is
        `orphaned` or `paused`; `stops` are why the next run would not be on the state of this warehouse,
        target and destination. `name` and `selection` choose syncs as `history` has it."""
        from revetl.sync.adopting import state_identities

        chosen = self._recorded(name, **selection)
        try:
            why = {each.sync: each.why for each in self.unattended()}
        except UsageError:
            # `validate` reports configuration errors.
            why = {}
        rows = [{**row, "unattended": why.get(row["sync"])} for row in self._last_runs(chosen)]
        stops: dict[str, list[str]] = {}
        if rows:
            syncs = [sync for audience in self.workspace.audiences() for sync in audience.syncs]
            found = state_identities(self.workspace, syncs, skips_wrong=True)
            stops = {each["sync"]: each["stops"] for each in found}
        return [{**row, "stops": stops.get(row["sync"], [])} for row in rows]

    def _last_runs(self, syncs: Sequence[str] | None) -> list[dict[str, Any]]:
        return self._query(
            """
            with numbered as (
                select *, row_number() over (partition by sync order by started_at desc, run_id desc) as place
                from :runs as r
            ),
            held as (select sync, count(*) as held from :state as s group by sync),
            refused as (select sync, count(*) as rejections from :rejections as j group by sync)
            select n.sync, n.status, n.started_at, n.finished_at, coalesce(h.held, 0) as held,
                n.delivered_add as added, n.delivered_update as updated, n.delivered_remove as removed,
                coalesce(f.rejections, 0) as rejections,
                n.aborted_add + n.aborted_update + n.aborted_remove as aborted, n.stopped_by,
                n.run_id, n.error
            from numbered as n
            left join held as h on h.sync = n.sync
            left join refused as f on f.sync = n.sync
            where n.place = 1
            order by n.sync
            """,
            of="n",
            syncs=syncs,
        )

    def _recorded(self, name: str | None = None, **selection: Any) -> list[str] | None:
        """The names of the syncs that are meant, also of those that the project no longer has; None for all
        of them. Raises UsageError for a name that neither the project nor a run has."""
        to = selection.get("to")
        if name is None and not any(selection.values()):
            return None
        try:
            return [sync.name for sync in self.select(name, **selection, paused=True)]
        except UsageError:
            by_dbt = any(selection.get(each) for each in ("select", "exclude", "selector"))
            recorded = [str(row["sync"]) for row in self._query("select distinct sync from :runs as r")]
            found = [
                sync
                for sync in recorded
                if name in (None, sync, sync.partition(".")[0]) and to in (None, sync.partition(".")[2])
            ]
            if by_dbt or not found:
                raise
            return found

    def sign_in(
        self, destination: str, options: SignInOptions | None = None, *, say: Say | None = None
    ) -> SignIn:
        """Have the user sign in to a destination with `sign_in:`, and store the tokens. Raises UsageError for
        a configuration that does not allow it, and DestinationRefused when it was refused."""
        from revetl import auth

        return auth.sign_in(
            self.workspace, destination, options or auth.SignInOptions(), say or self.workspace.say
        )

    def sign_out(self, destination: str, *, revoke: bool = True, say: Say | None = None) -> bool:
        """Revoke and forget the sign-in of a destination; whether there was one."""
        from revetl import auth

        return auth.sign_out(self.workspace, destination, say or self.workspace.say, revoke=revoke)

    def sign_ins(self, destination: str | None = None) -> list[Status]:
        """What is known of the sign-ins, without their tokens; only one where a destination is named."""
        from revetl import auth

        return auth.statuses(self.workspace, destination)

    def check_data(self, *, dry_run: bool = False) -> list[CheckResult]:
        """What each check under `alerts: data:` of revetl.yml comes to; what changed since the last time is
        sent and kept, unless it is a `dry_run`. Raises as `revetl.data_alerts.check_data` does."""
        from revetl.inspect.data_alerts import check_data

        return check_data(self.workspace, dry_run=dry_run)

    def history(
        self,
        name: str | None = None,
        *,
        limit: int = 20,
        since: datetime | None = None,
        failed: bool = False,
        **selection: Any,
    ) -> list[dict[str, Any]]:
        """The last `limit` runs, newest first: of every sync, of those of an audience, of the sync
        `audience.destination`, or of a selection as `select` has it. Syncs that the project no longer has are
        found by their names. `since` is a moment in UTC; with `failed`, only runs that did not deliver
        everything, with the `reasons` of rejected records and how many each has."""
        from sqlglot import exp

        from revetl.warehouse.templates import column

        tests: list[exp.Expr] = []
        if since is not None:
            tests.append(
                exp.GTE(this=column("started_at"), expression=exp.cast(exp.convert(str(since)), "timestamp"))
            )
        if failed:
            tests.append(exp.not_(column("status").isin("success", "running")))
        runs = self._query(
            "select * from :runs as r order by started_at desc, run_id desc",
            syncs=self._recorded(name, **selection),
            limit=limit,
            where=tests,
        )
        if not failed or not runs:
            return runs
        reasons: dict[str, dict[str, int]] = {}
        counts = self._query(
            "select run_id, coalesce(reason, 'no reason was given') as reason, count(*) as records "
            "from :changes as c where outcome = 'rejected' group by run_id, reason order by 3 desc",
            where=[column("run_id").isin(*(str(run["run_id"]) for run in runs))],
        )
        for row in counts:
            reasons.setdefault(row["run_id"], {})[row["reason"]] = row["records"]
        return [{**run, "reasons": reasons.get(run["run_id"], {})} for run in runs]

    def rejections(
        self, name: str | None = None, *, limit: int = 1_000, **selection: Any
    ) -> list[dict[str, Any]]:
        """Up to `limit` records that destinations rejected and have not accepted since, with the reason, by
        sync and newest first. `name` and `selection` choose syncs as `history` has it."""
        return self._query(
            "select sync, key, operation, field, reason, answer, attempts, first_rejected_at, "
            "last_rejected_at, run_id, identifiers, fields from :rejections as j "
            "order by sync, last_rejected_at desc, key",
            syncs=self._recorded(name, **selection),
            limit=limit,
        )

    def reconcile(
        self,
        name: str,
        *,
        repair: bool = False,
        remove_extra: bool = False,
        force: Sequence[str] = (),
        examples: int = 5,
    ) -> Reconciliation:
        """What has drifted apart in the sync `audience.destination`; with `repair`, mend it."""
        from revetl.sync.reconcile import ReconcileOptions, reconcile

        asked = ReconcileOptions(repair, remove_extra, tuple(force), examples)
        return reconcile(self.workspace, self.sync_named(name), asked)

    def plan_replay(
        self,
        to: str,
        *,
        again: bool = False,
        sample: int = 1,
        requests_per_second: float | None = None,
        **asked: Any,
    ) -> ReplayPlan:
        """What a replay to a destination would send, with up to `sample` example requests; nothing is sent.
        `asked` are the options of `replay`. Raises UsageError for what cannot be replayed."""
        from revetl.sync.replay.plan import plan_replay
        from revetl.sync.replay.request import make_request

        request = make_request(to, **asked)
        return plan_replay(
            self.workspace, request, again=again, size=sample, requests_per_second=requests_per_second
        )

    def write_replay_plan(self, path: str | Path, plan: ReplayPlan) -> None:
        """Write a plan to a file, for `replay(plan=…)`."""
        from revetl.sync.replay.control import write_plan

        write_plan(self.workspace, Path(path), plan)

    def replay(
        self,
        to: str | None = None,
        *,
        plan: str | Path | None = None,
        again: bool = False,
        requests_per_second: float | None = None,
        between: str | None = None,
        progress: ReplayProgress | None = None,
        **asked: Any,
    ) -> ReplayRun:
        """Send the history of events to a destination, or exactly the `plan` in a file; a replay that was
        interrupted goes on. `asked`: `types` of messages, `sources`, `since`, `until`, `events` (patterns of
        names), `where`, `people` (an audience) and `mapping` (an audience, or `default`);
        docs/how-to/replay.md explains them. Raises UsageError for what cannot be replayed, GuardStopped for
        what was sent before (see `again`) and for a plan that no longer holds, Locked while another replay
        to the destination runs."""
        from revetl.sync.replay.control import read_plan
        from revetl.sync.replay.request import make_request

        if plan is not None:
            request, expected = read_plan(self.workspace, Path(plan))
        elif to is not None:
            request, expected = make_request(to, **asked), None
        else:
            raise UsageError("A replay needs a destination (`to`), or a plan.")
        return self._replay(
            request,
            progress,
            again=again,
            requests_per_second=requests_per_second,
            between=between,
            expected=expected,
        )

    def resume_replay(
        self,
        replay_id: str,
        *,
        requests_per_second: float | None = None,
        between: str | None = None,
        progress: ReplayProgress | None = None,
    ) -> ReplayRun:
        """Go on with a replay that was paused or interrupted. Raises UsageError for one that has ended."""
        return self._replay(
            None, progress, requests_per_second=requests_per_second, between=between, resume=replay_id
        )

    def _replay(
        self,
        request: ReplayRequest | None,
        progress: ReplayProgress | None,
        *,
        between: str | None,
        **options: Any,
    ) -> ReplayRun:
        from revetl.sync.replay.request import Hours
        from revetl.sync.replay.run import ReplayOptions, ReplayProgress, run_replay

        hours = None if between is None else Hours.read(between)
        asked = ReplayOptions(between=hours, **options)
        return run_replay(self.workspace, request, asked, progress or ReplayProgress())

    def replays(self) -> list[Replay]:
        """All replays, the newest first."""
        from revetl.sync.replay.control import list_replays

        return list_replays(self.workspace)

    def replay_details(self, replay_id: str) -> tuple[Replay, list[dict[str, object]]]:
        """A replay by its id, and why messages of it were rejected. Raises UsageError."""
        from revetl.sync.replay.control import replay_details

        return replay_details(self.workspace, replay_id)

    def ask_replay(self, replay_id: str, what: str) -> Replay:
        """Ask a replay to `pause` or to `cancel`. Raises UsageError for one that has ended."""
        from revetl.sync.replay.control import ask_replay

        return ask_replay(self.workspace, replay_id, what)

    def why(self, person: str, audience: str, *, to: str | None = None) -> Explanation:
        """Why a person is or is not in an audience, and what each sync makes of them. `person` is the
        audience's key, or any identifier that the identity graph knows. Raises UsageError for an audience
        that is not there and a person nobody knows."""
        from revetl.inspect.explain import explain

        return explain(self.workspace, person, audience, to=to)

    def audiences_of(self, person: str) -> list[AudienceOfPerson]:
        """Every audience, with whether a person is in it and which destinations hold them. `person` is the
        audiences' key, or any identifier that the identity graph knows. Raises UsageError for a person nobody
        knows."""
        from revetl.inspect.explain.overview import audiences_of

        return audiences_of(self.workspace, person)

    def overlap(self, *names: str) -> Overlap:
        """How many people audiences have in common, two by two, as they were last built. Raises UsageError
        for fewer than two, or audiences that cannot be matched."""
        from revetl.inspect.overlap import overlap

        return overlap(self.workspace, names)

    def import_audience(
        self,
        file: str | Path,
        name: str,
        *,
        dialect: str | None = None,
        key: str = "user_id",
        folder: str | Path = "models/audiences",
        force: bool = False,
    ) -> ImportedAudience:
        """Write the SQL of a file, as Segment's audiences have it, as the model `name`; see
        docs/how-to/importing-audiences.md. Raises UsageError with the line of what cannot be translated."""
        from revetl.importers.segment_sql.importing import import_audience

        path = Path(file)
        return import_audience(
            self.workspace, path, name, dialect=dialect, key=key, folder=folder, force=force
        )

    def load(
        self,
        files: Iterable[str | Path],
        *,
        source: str | None = None,
        on_progress: Callable[[LoadProgress], None] | None = None,
    ) -> LoadResult:
        """Land Segment-spec messages of files in the raw tables; see docs/how-to/loading.md. `source` is
        where they came from. Raises UsageError for files, or a source, that cannot be."""
        import duckdb

        from revetl.governance.pii import AT_LOAD, hider_of
        from revetl.ingest.load import load_files
        from revetl.warehouse.duckdb import DuckDB

        paths = [Path(file) for file in files]
        schema = self.workspace.raw_schema
        hider = hider_of(self.workspace.root, AT_LOAD)
        warehouse = self.workspace.warehouse()
        try:
            land = partial(load_files, raw_schema=schema, source=source, hider=hider, on_progress=on_progress)
            if isinstance(warehouse, DuckDB):
                return land(warehouse.connection, paths)
            with duckdb.connect() as parser:
                return land(parser, paths, warehouse=warehouse)
        finally:
            warehouse.close()

    def collect(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        options: CollectorOptions | None = None,
        on_start: Callable[[str, Collector], None] = lambda url, collector: None,
    ) -> None:
        """Receive events over HTTP and land them in the raw tables, until the process is interrupted; see
        docs/how-to/collecting.md. `on_start` gets the address, and the collector. Raises UsageError for an
        invalid configuration and a port that is in use."""
        from revetl.ingest.collector.run import CollectorOptions, collect
        from revetl.ingest.collector.server import listen

        listener = listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        try:
            collect(self.workspace, listener, options or CollectorOptions(), partial(on_start, url))
        finally:
            listener.close()

    def collector_backlog(self) -> Backlog | None:
        """The events of this machine's collector that are not landed yet; None without sources."""
        from revetl.ingest.collector.segments import backlog_of

        config = self.workspace.config.collector
        if not config.sources:
            return None
        return backlog_of(self.workspace.root / Path(config.directory).expanduser())

    def _query(
        self,
        query: str,
        *,
        syncs: Sequence[str] | None = None,
        of: str | None = None,
        limit: int | None = None,
        where: Sequence[exp.Expr] = (),
    ) -> list[dict[str, Any]]:
        """The rows of a query over `:runs`, `:state`, `:rejections` and `:changes`: of some syncs (by the
        column `sync` of the alias `of`), of those `where` all is true, and no more than `limit`. Tables of an
        older version are read as they are."""
        from sqlglot import exp

        from revetl.sync.state.tables import state_tables
        from revetl.warehouse.templates import column, statement

        if syncs is not None and not syncs:
            return []
        warehouse = self.workspace.warehouse(read_only=True)
        try:
            tables = state_tables(self.workspace, warehouse.database)
            if not tables.exist(warehouse):
                return []
            select = statement(query, **tables.readable(warehouse, "runs", "state", "rejections", "changes"))
            assert isinstance(select, exp.Select)
            if syncs is not None:
                select = select.where(column("sync", of=of).isin(*syncs))
            select = select.where(*where)
            if limit is not None:
                select = select.limit(limit)
            names = list(warehouse.columns(select))
            return [dict(zip(names, row, strict=True)) for row in warehouse.rows(select)]
        finally:
            warehouse.close()
