"""Erase people at destinations with ordinary sync runs.

The records of open requests are delivered in mode `delete` as the sync `revetl_privacy.DESTINATION`, with the
rate limits, retries, write-ahead log and recovery of every sync. If a destination cannot erase people, they
are removed from its audiences.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlglot import exp

from revetl import dbt
from revetl.config.models import AudienceConfig, SyncConfig
from revetl.destinations.base.destination import Destination, Identifier
from revetl.mapping.comparable import IdentifierTypes
from revetl.mapping.fields import MappedField, made_alike
from revetl.privacy.erasure import PEOPLE, held_by_key, load_key_types, load_people
from revetl.privacy.requests import ERASING
from revetl.project.workspace import AudienceModel, Sync, Workspace
from revetl.sync.plan.late_identifiers import LATE, finishers, load
from revetl.sync.plan.plan import Plan
from revetl.sync.plan.presence import ERASED
from revetl.sync.plan.state_summary import Build
from revetl.sync.plan.suppressed import folded
from revetl.sync.retire import PRIVACY as AUDIENCE
from revetl.sync.retire import REMOVING, as_sync, unattended
from revetl.sync.run import ReadyRun, Runner
from revetl.sync.state import leases
from revetl.sync.state.identity import identity_of, read_identity
from revetl.sync.state.run_log import Run, write_run
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, query, statement, table

_RECORDS = table("revetl_privacy_records")
_BATCH_COLUMNS = "request_id, key, identifiers"


def erasing_sync(destination: str) -> Sync:
    """Return the sync that erases people at a destination."""
    config = SyncConfig.model_validate({"to": destination, "mode": "delete"})
    model = dbt.Model(
        AUDIENCE, f"privacy.{AUDIENCE}", None, "", AUDIENCE, "", (), f"privacy: {destination}", {}
    )
    audience = AudienceModel(model, AudienceConfig(key="key", sync=(config,)))
    return Sync(audience, config, f"privacy: {destination}", called=f"{AUDIENCE}.{destination}")


@dataclass
class Erasure(Runner):
    """A run that erases the people of open requests at a destination."""

    def _spool(self, warehouse: Warehouse, lease: leases.Lease) -> ReadyRun | Run:
        name, to = self.sync.name, self.sync.config.to
        types = IdentifierTypes.of(self.workspace)
        load_people(warehouse, self.tables, types, f"destination:{to}", regulations=ERASING)
        write_records(self.workspace, warehouse, self.tables, self.destination, to)
        waiting = query(
            """
            select r.key, r.identifiers from :records as r
            where not exists (
                select 1 from :state as s where s.sync = :sync and s.key = r.key
                and s.row_hash is not null and s.presence = :erased
            )
            order by r.key
            """,
            records=_RECORDS,
            state=self.tables.state,
            sync=name,
            erased=ERASED,
        )
        left = quota_left(warehouse, self.tables, self.destination, name)
        chosen = waiting if left is None else waiting.limit(left)
        ((count,),) = warehouse.rows(query("select count(*) from :chosen as c", chosen=chosen.subquery()))
        plan = Plan(
            sync=name,
            audience=AUDIENCE,
            destination=to,
            mode="delete",
            held_rows=0,
            add=int(count),
            causes={"add": {"privacy": int(count)}} if count else {},
        )
        self.progress.on_plan(plan)
        if not count:
            return self._end_early(warehouse, plan, Build(), None)
        before = read_identity(warehouse, self.tables, name)
        identity = identity_of(self.workspace, self.sync, self.destination)
        with warehouse.transaction():
            warehouse.run(
                statement(
                    """
                    insert into :intents (
                        sync, run_id, hash_by, operation, key, row_hash, identifiers, fields, origin,
                        presence, cause, caused_at
                    )
                    select :sync, :run_id, '', 'add', c.key, 0, c.identifiers, '{}', :run_id, :erased,
                        'privacy', cast(null as timestamp)
                    from :chosen as c
                    """,
                    intents=self.tables.intents,
                    sync=name,
                    run_id=self.run_id,
                    erased=ERASED,
                    chosen=chosen.copy().subquery(),
                )
            )
            write_run(warehouse, self.tables, self._run("running", plan, Build()))
        return self._ready_by_key(warehouse, plan, lease, ERASED, identity, before)


def quota_left(warehouse: Warehouse, tables: StateTables, destination: Destination, sync: str) -> int | None:
    """Return how many more people can be erased in the current 24 hours; None without a quota."""
    limit = destination.daily_limit("delete")
    if limit is None:
        return None
    since = leases.now() - timedelta(hours=24)
    rows = warehouse.rows(
        query(
            "select count(*) from :changes as c where c.sync = :sync and c.changed_at >= :since "
            "and c.outcome in ('delivered', 'unknown')",
            changes=tables.changes,
            sync=sync,
            since=since,
        )
    )
    return max(0, limit - int(rows[0][0]))


def days_needed(destination: Destination, people: int) -> int | None:
    """Return the number of days that an erasure takes under the quota; None without a quota."""
    limit = destination.daily_limit("delete")
    return None if limit is None else max(1, -(-people // limit))


def write_records(
    workspace: Workspace,
    warehouse: Warehouse,
    tables: StateTables,
    destination: Destination,
    to: str,
) -> None:
    """Write the records to erase at a destination (`request_id`, `key`, `identifiers` as JSON).

    One record per request and identifier that can match the person at the destination, plus the identifiers
    that syncs delivered for the person.
    """
    parts = [
        *_by_identifier(warehouse, destination),
        _delivered(workspace, warehouse, tables, destination, to),
    ]
    made = parts[0] if len(parts) == 1 else exp.union(*parts)
    warehouse.temporary(
        _RECORDS,
        query(
            f"""
            select m.request_id, m.request_id || ':' || substr(:digest, 1, 16) as key, m.identifiers
            from (select distinct {_BATCH_COLUMNS.replace("key, ", "")} from :made as n
                where n.identifiers is not null) as m
            """,  # noqa: S608  names of ours
            digest=exp.SHA2(this=statement("m.request_id || ':' || m.identifiers"), length=exp.convert(256)),
            made=made.subquery(),
        ),
    )


def _by_identifier(warehouse: Warehouse, destination: Destination) -> list[exp.Query]:
    found, late = [], []
    finish_by = finishers(destination)
    for identifier in destination.known_by:
        if not _is_enough(destination, identifier):
            continue
        item = made_alike(MappedField(identifier.name, column("identifier_value"), "VARCHAR"), identifier)
        names = {folded(identifier.name), folded(identifier.column)}
        kinds = [kind for kind in _kinds(warehouse) if folded(kind) in names]
        if not kinds:
            continue
        among = exp.In(
            this=column("identifier_type", of="p"), expressions=[exp.convert(kind) for kind in kinds]
        )
        value = item.of("p")
        if item.late:
            late.append(
                query(
                    "select distinct :name as name, :text as raw from :people as p "
                    "where :among and :text is not null",
                    name=identifier.name,
                    text=value.copy(),
                    people=PEOPLE,
                    among=among.copy(),
                )
            )
            sent = query(
                """
                select p.request_id, :document as identifiers from :people as p
                inner join :late as l on l.name = :name and l.raw = :text
                where :among and l.sent is not null
                """,
                document=warehouse.json_object({identifier.name: (column("sent", of="l"), "VARCHAR")}),
                people=PEOPLE,
                late=LATE,
                name=identifier.name,
                text=value,
                among=among,
            )
        else:
            sent = query(
                "select p.request_id, :document as identifiers from :people as p "
                "where :among and :value is not null",
                document=warehouse.json_object({identifier.name: (value.copy(), "VARCHAR")}),
                people=PEOPLE,
                among=among,
                value=value,
            )
        found.append(sent)
    if late:
        load(warehouse, late[0] if len(late) == 1 else exp.union(*late), finish_by)
    return found


def _is_enough(destination: Destination, identifier: Identifier) -> bool:
    return any(each <= {identifier.name} for each in destination.found_by("delete"))


def _kinds(warehouse: Warehouse) -> list[str]:
    rows = warehouse.rows(query("select distinct p.identifier_type from :people as p", people=PEOPLE))
    return [str(kind) for (kind,) in rows]


def _delivered(
    workspace: Workspace,
    warehouse: Warehouse,
    tables: StateTables,
    destination: Destination,
    to: str,
) -> exp.Query:
    """Query the identifiers that syncs delivered to the destination for these people, if sufficient to erase
    them."""
    load_key_types(workspace, warehouse)
    types = IdentifierTypes.of(workspace)
    own = statement("s.sync like :pattern and s.sync <> :own", pattern=f"%.{to}", own=f"{AUDIENCE}.{to}")
    ways = [*destination.found_by("delete")]
    has_enough = exp.or_(
        *(
            exp.and_(
                *(statement("s.identifiers like :pattern", pattern=f'%"{name}"%') for name in sorted(way))
            )
            for way in ways
        )
    )
    return query(
        """
        select distinct p.request_id, s.identifiers
        from :state as s
        inner join :held as h on h.sync = s.sync and h.key = s.key
        inner join :people as p
            on p.identifier_value = h.identifier_value
            and (h.identifier_type is null or h.identifier_type = p.identifier_type)
        where :own and :enough
        """,
        state=tables.state,
        held=held_by_key(warehouse, types, tables.state, only=own.copy()).subquery(),
        people=PEOPLE,
        own=own,
        enough=has_enough if ways else exp.false(),
    )


def finish_destination(
    workspace: Workspace, warehouse: Warehouse, tables: StateTables, to: str, destination: Destination
) -> None:
    """Record which requests are fully erased at a destination, and the reasons for the others."""
    types = IdentifierTypes.of(workspace)
    place, sync = f"destination:{to}", f"{AUDIENCE}.{to}"
    load_people(warehouse, tables, types, place, regulations=ERASING)
    write_records(workspace, warehouse, tables, destination, to)
    limit = destination.daily_limit("delete")
    with warehouse.transaction():
        warehouse.run(
            statement(
                """
                merge into :places as p
                using (
                    select q.request_id, count(r.key) as records, count(s.key) as erased,
                        count(j.key) as rejected, max(j.reason) as reason
                    from (select distinct x.request_id from :people as x) as q
                    left join :records as r on r.request_id = q.request_id
                    left join :state as s on s.sync = :sync and s.key = r.key
                        and s.row_hash is not null and s.presence = :gone
                    left join :rejections as j on j.sync = :sync and j.key = r.key
                    group by q.request_id
                ) as n on p.request_id = n.request_id and p.place = :place
                    and p.status in ('initialized', 'running', 'failed')
                when matched then update set
                    status = case when n.erased = n.records then 'finished'
                        when n.rejected > 0 then 'failed' else 'running' end,
                    detail = case when n.records = 0 then 'no identifier that the destination supports'
                        when n.erased = n.records then cast(null as varchar)
                        when n.rejected > 0 then n.reason else :waiting end,
                    erased = n.erased,
                    finished_at = case when n.erased = n.records then :now end
                """,
                places=tables.named("privacy_places"),
                people=PEOPLE,
                records=_RECORDS,
                state=tables.state,
                rejections=tables.rejections,
                sync=sync,
                gone=ERASED,
                place=place,
                waiting="waits for the next run" if limit is None else f"waits: {limit:,} a day",
                now=leases.now(),
            )
        )
        finished = statement(
            "select p.request_id from :places as p where p.place = :place and p.status = 'finished'",
            places=tables.named("privacy_places"),
            place=place,
        )
        for name in ("sync_state", "sync_rejections"):
            warehouse.run(
                statement(
                    "delete from :relation where sync = :sync and key in "
                    "(select r.key from :records as r where r.request_id in (:finished))",
                    relation=tables.named(name),
                    sync=sync,
                    records=_RECORDS,
                    finished=finished.copy(),
                )
            )


def fail_destination(warehouse: Warehouse, tables: StateTables, to: str, error: str) -> None:
    """Record why a destination could not be reached; its requests stay open."""
    warehouse.run(
        statement(
            "update :places set status = 'failed', detail = :error "
            "where place = :place and status in ('initialized', 'running', 'failed')",
            places=tables.named("privacy_places"),
            error=error,
            place=f"destination:{to}",
        )
    )


def removing_syncs(workspace: Workspace, warehouse: Warehouse, tables: StateTables, to: str) -> list[Sync]:
    """Return the syncs that remove people at a destination, including those no longer in the project."""
    own = [
        sync
        for audience in workspace.audiences()
        for sync in audience.syncs
        if sync.config.to == to and sync.config.mode in REMOVING and sync.config.mode != "archive"
    ]
    names = {sync.name for sync in own}
    left = [
        as_sync(workspace, each)
        for each in unattended(workspace, warehouse, tables)
        if each.destination == to and each.removes and each.mode != "archive" and each.sync not in names
    ]
    return [*own, *left]


def held_at(
    warehouse: Warehouse, tables: StateTables, workspace: Workspace, to: str, *, members: bool
) -> int:
    """Count the people in `revetl_privacy_people` in a destination's state.

    With `members`, count those in audiences; otherwise those sent as profiles and events, which stay at the
    destination.
    """
    load_key_types(workspace, warehouse)
    types = IdentifierTypes.of(workspace)
    own = statement(
        "s.sync like :pattern and s.sync <> :own and (coalesce(s.presence, 'member') in "
        "('member', 'entered')) = :members",
        pattern=f"%.{to}",
        own=f"{AUDIENCE}.{to}",
        members=exp.true() if members else exp.false(),
    )
    rows = warehouse.rows(
        query(
            """
            select count(distinct h.sync || ':' || h.key) from :held as h
            inner join :people as p
                on p.identifier_value = h.identifier_value
                and (h.identifier_type is null or h.identifier_type = p.identifier_type)
            """,
            held=held_by_key(warehouse, types, tables.state, only=own).subquery(),
            people=PEOPLE,
        )
    )
    return int(rows[0][0])
