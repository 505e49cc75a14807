"""Syncs that no run would touch any more: what they hold, the opt-outs among it, and how they are closed.

A sync is orphaned when the state has it and the project does not (its audience, its entry or its destination
was renamed or removed), and paused when it is not `enabled`. Its people stay at the tool. A remove needs
their identifiers and fields, which the state keeps, and no model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from sqlglot import exp

from revetl import dbt
from revetl.config.models import AudienceConfig, SyncConfig
from revetl.errors import UsageError, nearest
from revetl.project.workspace import AudienceModel, Sync, Workspace
from revetl.sync.opt_outs import suppressed
from revetl.sync.plan import guards
from revetl.sync.plan.late_identifiers import finishers, rows_brought_forward
from revetl.sync.plan.plan import Plan
from revetl.sync.plan.presence import MEMBER, Presence
from revetl.sync.plan.state_summary import Build
from revetl.sync.run import ReadyRun, Runner
from revetl.sync.state import leases
from revetl.sync.state.identity import destination_stop, identity_of, read_identity
from revetl.sync.state.last_runs import forget_run
from revetl.sync.state.run_log import Run, write_run
from revetl.sync.state.tables import StateTables
from revetl.sync.stop import Stop
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

REMOVING = ("mirror", "archive", "audience_events")
"""Modes in which who leaves is taken out."""
PRIVACY = "revetl_privacy"
"""What runs of privacy requests are called, in place of an audience."""
ORPHANED, PAUSED = "orphaned", "paused"


@dataclass(frozen=True)
class UnattendedSync:
    """A sync that holds people and that no run touches: `why` it is `orphaned` or `paused`, how many it
    holds, and the mode of its last run."""

    sync: str
    audience: str
    destination: str
    mode: str
    why: str
    held: int

    @property
    def removes(self) -> bool:
        """Whether its people can be taken out."""
        return self.mode in REMOVING

    def __str__(self) -> str:
        """It in words, with the way out."""
        reason = "it is not enabled" if self.why == PAUSED else "the project has no such sync"
        return (
            f"{self.sync} is {self.why} ({reason}) and holds {self.held:,}. "
            f"`revetl retire {self.sync}` removes them."
        )


def unattended(workspace: Workspace, warehouse: Warehouse, tables: StateTables) -> list[UnattendedSync]:
    """The orphaned and paused syncs that hold somebody, by name."""
    if not tables.exist(warehouse):
        return []
    found = warehouse.catalog([tables.state, tables.runs])
    if None in found:
        return []
    rows = warehouse.rows(
        statement(
            """
            with last_runs as (
                select sync, audience, destination, mode,
                    row_number() over (partition by sync order by started_at desc, run_id desc) as place
                from :runs as r
            ),
            held as (select sync, count(*) as held from :state as s group by sync)
            select h.sync, l.audience, l.destination, l.mode, h.held
            from held as h left join last_runs as l on l.sync = h.sync and l.place = 1
            order by h.sync
            """,
            runs=tables.runs,
            state=tables.state,
        )
    )
    declared = {sync.name: sync for audience in workspace.audiences() for sync in audience.syncs}
    renamed = {name for sync in declared.values() for name in workspace.former_names(sync)}
    result = []
    for name, audience, destination, mode, held in rows:
        sync = declared.get(name)
        is_there = sync is not None and sync.config.to in workspace.config.destinations
        if str(name).startswith(f"{PRIVACY}."):
            continue
        if name in renamed or (is_there and sync is not None and not sync.paused):
            continue
        first, _, rest = str(name).partition(".")
        result.append(
            UnattendedSync(
                str(name),
                audience or first,
                workspace.destination_now(destination or rest),
                sync.config.mode if sync is not None else mode or "mirror",
                PAUSED if is_there else ORPHANED,
                int(held),
            )
        )
    return result


def as_sync(workspace: Workspace, each: UnattendedSync) -> Sync:
    """The sync as far as a remove needs it: the declared one, or one made of what the state says. Raises
    UsageError where the destination is gone from revetl.yml."""
    for audience in workspace.audiences():
        for sync in audience.syncs:
            if sync.name == each.sync:
                return sync
    if each.destination not in workspace.config.destinations:
        raise UsageError(
            f"{each.sync}: revetl.yml has no destination '{each.destination}' any more, and {each.held:,} "
            f"people are there. Bring it back, run `revetl retire {each.sync}`, then remove it. "
            f"{nearest(each.destination, workspace.config.destinations)}"
        )
    config = SyncConfig.model_validate({"to": each.destination, "mode": each.mode})
    model = dbt.Model(
        each.audience, f"orphan.{each.audience}", None, "", each.audience, "", (), each.sync, {}
    )
    audience = AudienceModel(model, AudienceConfig(key="key", sync=(config,)))
    return Sync(audience, config, each.sync, called=each.sync)


@dataclass
class Retirement(Runner):
    """A run that removes everyone a sync holds, from the state alone, and closes the sync."""

    only_suppressed = False
    when_missing: ClassVar[str] = "Nobody is in it to be removed."

    def _spool(self, warehouse: Warehouse, lease: leases.Lease) -> ReadyRun | Run:
        name, mode = self.sync.name, self.sync.config.mode
        removes = self._removes()
        before = read_identity(warehouse, self.tables, name)
        identity = identity_of(self.workspace, self.sync, self.destination)
        rows_brought_forward(warehouse, self.tables.state, name, finishers(self.destination))
        held = exp.In(
            this=statement("coalesce(s.presence, :member)", member=exp.convert(MEMBER)),
            expressions=[exp.convert(each) for each in Presence.of(mode, self.destination).held],
        )
        chosen = exp.and_(held, self._chosen(warehouse))
        plan = retirement_plan(warehouse, self.tables, self.sync, chosen if removes else statement("1 = 0"))
        self.progress.on_plan(plan)
        elsewhere = destination_stop(name, self.sync.config.to, before, identity)
        if elsewhere is not None and not self.options.full_refresh:
            plan = replace(plan, stops=(elsewhere, *plan.stops))
        stops = guards.standing(plan.stops, self.options.force)
        if stops and not (self.only_suppressed and guards.only_volume(stops)):
            return self._end_early(warehouse, plan, Build(), guards.as_error(stops[0]))
        if not plan.remove:
            if not self.only_suppressed:
                if plan.held_rows:
                    self.workspace.say(
                        f"{name}: closed. {plan.held_rows:,} people stay at {self.sync.config.to}: in mode "
                        f"{mode} nobody is removed."
                    )
                self._close(warehouse)
                plan = replace(plan, held_rows=0)
            return self._end_early(warehouse, plan, Build(), None)
        with warehouse.transaction():
            warehouse.run(
                statement(
                    """
                    insert into :intents (
                        sync, run_id, hash_by, operation, key, row_hash, identifiers, fields, origin,
                        presence, cause, caused_at
                    )
                    select s.sync, :run_id, '', 'remove', s.key, s.row_hash, s.identifiers, s.fields,
                        case when s.row_hash is null and s.pending_operation = 'remove'
                            then coalesce(s.pending_run_id, :run_id) else :run_id end,
                        s.presence, :cause, cast(null as timestamp)
                    from :state as s where s.sync = :sync and (:chosen)
                    """,
                    intents=self.tables.intents,
                    state=self.tables.state,
                    sync=name,
                    run_id=self.run_id,
                    cause="suppressed" if self.only_suppressed else "retired",
                    chosen=chosen,
                )
            )
            write_run(warehouse, self.tables, self._run("running", plan, Build()))
        spool = self._write_run_folder(
            warehouse, plan, Build(), hash_by="", presence=Presence.of(mode, self.destination).written
        )
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

    def deliver(self, ready: ReadyRun) -> Run:
        run = super().deliver(ready)
        if run.status == "success" and not self.only_suppressed:
            with self._writing(light=True) as warehouse:
                self._close(warehouse)
        return run

    def _removes(self) -> bool:
        config = self.sync.config
        if config.mode == "archive" and not config.archive:
            raise UsageError(
                f"{self.sync.name}: what an archived record is to say was declared on the sync, which is "
                "gone. Bring it back with `enabled: false`, and retire it then."
            )
        return config.mode in REMOVING and not self.destination.takes_whole(config.mode)

    def _chosen(self, warehouse: Warehouse) -> exp.Expr:
        return (
            suppressed(warehouse, self.tables, self.sync.name, self.destination)
            if self.only_suppressed
            else statement("1 = 1")
        )

    def _close(self, warehouse: Warehouse) -> None:
        """Forget what is kept of the sync. Rows of people who could not be removed are not there by now."""
        with warehouse.transaction():
            for each in (
                self.tables.rejections,
                self.tables.holdouts,
                self.tables.identities,
                self.tables.trials,
                self.tables.state,
            ):
                gone = statement("delete from :table where sync = :sync", table=each, sync=self.sync.name)
                warehouse.run(gone)
        forget_run(self.workspace, self.sync.name)


@dataclass
class OptOuts(Retirement):
    """A run that removes only people who were suppressed since, and leaves the sync as it is."""

    only_suppressed = True


def retirement_plan(warehouse: Warehouse, tables: StateTables, sync: Sync, chosen: exp.Expr) -> Plan:
    """The plan of removing whom `chosen` is true of."""
    query = statement(
        "select count(*), count(case when :chosen then 1 end) from :state as s where s.sync = :sync",
        chosen=chosen,
        state=tables.state,
        sync=sync.name,
    )
    ((held, removes),) = warehouse.rows(query)
    plan = Plan(
        sync=sync.name,
        audience=sync.audience.name,
        destination=sync.config.to,
        mode=sync.config.mode,
        held_rows=int(held),
        remove=int(removes),
        causes={"remove": {"retired": int(removes)}} if removes else {},
    )
    return replace(plan, stops=_stops(plan, sync))


def _stops(plan: Plan, sync: Sync) -> tuple[Stop, ...]:
    """A retirement is meant to remove all; only a limit that was set for it stands."""
    most = sync.config.max_removes
    if most is None or plan.remove <= most:
        return ()
    message = f"{plan.sync}: {plan.remove:,} members would be removed, and max_removes is {most:,}."
    return (Stop("max_removes", message),)
