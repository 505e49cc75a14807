"""Orphaned and paused syncs: find them, remove suppressed people from them, and retire them.

A sync is orphaned when it is in the state but not in the project (its audience, its entry or its destination
was renamed or removed), and paused when it is not `enabled`. Its members stay at the destination. Removing
them needs only their identifiers and fields, which are in the state, and no model.
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
"""Modes in which members who leave the audience are removed."""
PRIVACY = "revetl_privacy"
"""The name of runs of privacy requests, in place of an audience."""
ORPHANED, PAUSED = "orphaned", "paused"


@dataclass(frozen=True)
class UnattendedSync:
    """A sync with members that no run updates: `why` is `orphaned` or `paused`, `held` the number of members,
    and `mode` the mode of its last run."""

    sync: str
    audience: str
    destination: str
    mode: str
    why: str
    held: int

    @property
    def removes(self) -> bool:
        """Whether its members can be removed."""
        return self.mode in REMOVING

    def __str__(self) -> str:
        """Describe the sync and how to retire it."""
        reason = "it is not enabled" if self.why == PAUSED else "it is not in the project"
        return (
            f"{self.sync} is {self.why} ({reason}) and has {self.held:,} members. "
            f"`revetl retire {self.sync}` removes them."
        )


def unattended(workspace: Workspace, warehouse: Warehouse, tables: StateTables) -> list[UnattendedSync]:
    """Return the orphaned and paused syncs that have members, by name."""
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
    """Return the declared sync, or one rebuilt from the state with what a remove needs. Raises UsageError
    when the destination is no longer in revetl.yml."""
    for audience in workspace.audiences():
        for sync in audience.syncs:
            if sync.name == each.sync:
                return sync
    if each.destination not in workspace.config.destinations:
        raise UsageError(
            f"{each.sync}: destination '{each.destination}' is no longer in revetl.yml, but still has "
            f"{each.held:,} members. Restore it, run `revetl retire {each.sync}`, then remove it. "
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
    """A run that removes all members of a sync, using only the state, and then deletes its state."""

    only_suppressed = False
    when_missing: ClassVar[str] = "There are no members to remove."

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
                        f"{name}: retired. {plan.held_rows:,} members stay at {self.sync.config.to}, because "
                        f"mode {mode} never removes members."
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
        presence = Presence.of(mode, self.destination).written
        return self._ready_by_key(warehouse, plan, lease, presence, identity, before)

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
                f"{self.sync.name}: cannot archive the members, because the sync that declared the values of "
                "archived records is gone. Restore it with `enabled: false`, then retire it."
            )
        return config.mode in REMOVING and not self.destination.takes_whole(config.mode)

    def _chosen(self, warehouse: Warehouse) -> exp.Expr:
        return (
            suppressed(warehouse, self.tables, self.sync.name, self.destination)
            if self.only_suppressed
            else statement("1 = 1")
        )

    def _close(self, warehouse: Warehouse) -> None:
        """Delete the state of the sync. By now it has no rows of members who could not be removed."""
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
    """A run that removes only suppressed people, and keeps the sync."""

    only_suppressed = True


def retirement_plan(warehouse: Warehouse, tables: StateTables, sync: Sync, chosen: exp.Expr) -> Plan:
    """Return the plan that removes the rows matching `chosen`."""
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
    """Return the guards that stop a retirement: it removes everyone by design, so only `max_removes` does."""
    most = sync.config.max_removes
    if most is None or plan.remove <= most:
        return ()
    message = f"{plan.sync}: {plan.remove:,} members would be removed; max_removes is {most:,}."
    return (Stop("max_removes", message),)
