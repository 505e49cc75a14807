"""The plan: what a sync would do, from the diff in the warehouse; nothing is changed and nothing sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlglot import exp

from revetl.destinations.base import Destination
from revetl.destinations.records import digest
from revetl.mapping import TIMESTAMP, FieldMapping, MissingColumn, make_mapping
from revetl.project import Sync, Workspace
from revetl.sql import statement
from revetl.sync import guard
from revetl.sync.changed import leaving
from revetl.sync.diff import Diff
from revetl.sync.membership import members_of
from revetl.sync.spool import OPERATIONS
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse

Causes = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Request:
    """One exact request of a plan, without its secrets."""

    operation: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True)
class Identified:
    """An identifier of a plan: the share of members who have it, the rule it is made by, and examples of
    `raw`, `normalised` and `sent` values."""

    name: str
    share: float
    rule: str | None = None
    examples: tuple[tuple[object, object, object], ...] = ()


@dataclass(frozen=True)
class Preview:
    """What a person wants to see of a plan before it runs: exact requests, what they cost in requests and in
    minutes at the destination's rate limit, who can be identified (`share` of the members, by each
    identifier), and which fields are the reason for updates."""

    requests: tuple[Request, ...]
    request_count: int
    minutes: float | None
    share: float
    identifiers: tuple[Identified, ...]
    changed_fields: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """What a sync would do. `causes` says why, by operation; `left_out` counts members who are not to be
    sent, by cause; `rejected` counts records that wait because the destination refused them and their rows
    have not changed since; `kept`, members who left under a key that another member took over; `new_fields`
    and `old_fields` are those that a changed mapping brought and dropped. `digest` names the plan: it is
    another when the audience or the state has moved."""

    sync: str
    audience: str
    destination: str
    mode: str
    audience_rows: int = 0
    held_rows: int = 0
    add: int = 0
    update: int = 0
    remove: int = 0
    kept: int = 0
    rejected: int = 0
    causes: Causes = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    new_fields: tuple[str, ...] = ()
    old_fields: tuple[str, ...] = ()
    stops: tuple[guard.Stop, ...] = ()
    digest: str | None = None
    preview: Preview | None = None

    @property
    def changes(self) -> int:
        """Records to send."""
        return self.add + self.update + self.remove

    @property
    def counts(self) -> dict[str, int]:
        """Records to send by operation."""
        return {"add": self.add, "update": self.update, "remove": self.remove}

    @property
    def suppressed(self) -> int:
        """Removes of suppressed people, which no guard on volume holds back."""
        return self.causes.get("remove", {}).get("suppressed", 0)


@dataclass(frozen=True)
class Build:
    """The last build of a model, as `model_builds` has it."""

    built_at: datetime | None = None
    invocation_id: str | None = None
    failed: bool = False


def make_diff(
    workspace: Workspace, sync: Sync, destination: Destination, warehouse: Warehouse, tables: Tables
) -> Diff | Plan:
    """The diff of a sync; a plan that a guard stops, where a column is gone whose values were sent. Raises
    UsageError for a wrong mapping, WarehouseError for a model not built."""
    audience = sync.audience
    columns = warehouse.columns(workspace.built(audience, warehouse))
    has_state = tables.exist(warehouse)
    try:
        mapping = make_mapping(audience.key, sync.config, destination, columns, sync.place)
    except MissingColumn as missing:
        if not has_state or not (held := _held_rows(sync, warehouse, tables)):
            raise
        stop = guard.Stop("columns", str(missing), forceable=False)
        return Plan(**_names(sync), held_rows=held, stops=(stop,))
    return Diff(
        warehouse=warehouse,
        tables=tables,
        sync=sync.name,
        members=members_of(workspace, sync, columns, warehouse, tables),
        mapping=_typed(mapping, warehouse, audience.relation),
        mode=sync.config.mode,
        has_state=has_state,
    )


def _names(sync: Sync) -> dict[str, Any]:
    return {
        "sync": sync.name,
        "audience": sync.audience.name,
        "destination": sync.config.to,
        "mode": sync.config.mode,
    }


def _held_rows(sync: Sync, warehouse: Warehouse, tables: Tables) -> int:
    query = statement(
        "select count(*) from :state as s where s.sync = :sync", state=tables.state, sync=sync.name
    )
    ((rows,),) = warehouse.rows(query)
    return int(rows)


def _typed(mapping: FieldMapping, warehouse: Warehouse, model: exp.Table) -> FieldMapping:
    """The mapping with the types of its expressions, which only the engine knows."""
    untyped = mapping.untyped()
    if not untyped:
        return mapping
    query = exp.select(*(exp.alias_(made, name, quoted=True) for name, made in untyped.items()))
    return mapping.typed(warehouse.columns(query.from_(model)))


def last_build(sync: Sync, warehouse: Warehouse, tables: Tables) -> Build:
    """When the audience was built last, and by which dbt invocation."""
    if not warehouse.exists(tables.builds):
        return Build()
    rows = warehouse.rows(
        statement(
            "select completed_at, invocation_id, status <> 'success' from :builds as b "
            "where b.unique_id = :id",
            builds=tables.builds,
            id=sync.audience.model.unique_id,
        )
    )
    return Build(*rows[0]) if rows else Build()


def make_plan(
    workspace: Workspace, sync: Sync, diff: Diff, build: Build, *, full_refresh: bool, retry: bool
) -> Plan:
    """Run the diff, leaving the changed keys in the warehouse's temporary table, and count it.

    `full_refresh` plans every member anew; `retry` plans what was rejected before, too.
    """
    warehouse = diff.warehouse
    ((held_rows, uncertain, otherwise),) = warehouse.rows(diff.probe())
    warehouse.run(diff.changes(uncertain=uncertain > 0, otherwise=otherwise > 0, full_refresh=full_refresh))
    found = {(operation, held): rest for operation, held, *rest in warehouse.rows(diff.counts())}
    ((audience_rows,),) = warehouse.rows(
        statement("select count(*) from :model as a", model=diff.members.relation)
    )
    null_keys = sum(nulls for _, nulls, _ in found.values())
    repeated = _repeated(diff, found, audience_rows, held_rows, null_keys)
    new_fields, old_fields = _changed_names(diff) if otherwise else ((), ())
    if otherwise and not full_refresh:
        warehouse.run(diff.rehash())
    if diff.removes and not diff.mapping.by_key:
        warehouse.run(diff.rekey())
        warehouse.run(diff.forget())
    for naming in diff.name_suppressed():
        warehouse.run(naming)
    if diff.has_state and not (full_refresh or retry):
        warehouse.run(diff.set_waiting())
    causes = _causes(diff)
    totals = _totals(causes)
    removes = totals.get("remove", 0)
    if rekeyed := totals.get("rekey", 0):
        ((removes,),) = warehouse.rows(
            statement("select count(*) from :leaving as l", leaving=exp.Subquery(this=leaving(diff, "")))
        )
    adds, updates = totals.get("add", 0) + rekeyed, totals.get("update", 0)
    failures = set(workspace.manifest.failures(sync.audience.model))
    if build.failed:
        failures.add(sync.audience.name)
    change = guard.Change(
        sync=sync.name,
        key=sync.audience.key,
        audience_rows=audience_rows,
        held_rows=held_rows,
        adds=adds,
        updates=updates,
        removes=removes,
        null_keys=null_keys,
        repeated_keys=repeated,
        max_change=sync.config.max_change,
        max_removes=sync.config.max_removes,
        max_age=sync.config.max_age,
        built_at=build.built_at,
        failures=tuple(sorted(failures)),
        lost_fields=old_fields if sync.config.fields is None else (),
    )
    return Plan(
        **_names(sync),
        audience_rows=audience_rows,
        held_rows=held_rows,
        add=adds,
        update=updates,
        remove=removes,
        kept=totals.get("forget", 0),
        rejected=totals.get("wait", 0),
        causes=_by_sent(causes),
        left_out=diff.members.left_out,
        new_fields=new_fields,
        old_fields=old_fields,
        stops=tuple(guard.judge(change, diff)),
    )


def plan_digest(plan: Plan, sync: Sync, diff: Diff) -> str:
    """What names a plan: the changes, what they are made from, how they are sent, and the last run."""
    last: object = None
    if diff.has_state:
        ((last,),) = diff.warehouse.rows(
            statement(
                "select max(run_id) from :runs as r where r.sync = :sync",
                runs=diff.tables.runs,
                sync=diff.sync,
            )
        )
    ((count, total),) = diff.warehouse.rows(diff.digest())
    config = sync.config.model_dump_json()
    sizes = (plan.audience_rows, plan.held_rows, count, total)
    return digest(*map(str, sizes), str(last), config, diff.mapping.fingerprint)


def _causes(diff: Diff) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for operation, cause, count in diff.warehouse.rows(diff.causes()):
        found.setdefault(operation, {})[cause] = count
    return found


def _totals(causes: Causes) -> dict[str, int]:
    return {operation: sum(by_cause.values()) for operation, by_cause in causes.items()}


def _by_sent(causes: Causes) -> Causes:
    """The causes of what is sent; who is rekeyed is removed and added."""
    sent = {operation: dict(causes[operation]) for operation in OPERATIONS if operation in causes}
    for cause, count in causes.get("rekey", {}).items():
        for operation in ("remove", "add"):
            sent.setdefault(operation, {})[cause] = count
    return sent


def _changed_names(diff: Diff) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields that a changed mapping brought, and those that it dropped, by what was sent before."""
    rows = diff.warehouse.rows(
        statement(
            "select s.fields from :held as s where s.sync = :sync and s.hash_by <> :hash_by limit 1",
            held=diff.held,
            sync=diff.sync,
            hash_by=diff.hash_by,
        )
    )
    try:
        before = [name for name in orjson.loads(rows[0][0]) if name != TIMESTAMP] if rows else []
    except orjson.JSONDecodeError:
        # A value that no reader takes; its names are not worth a failure.
        return (), ()
    now = [item.name for item in diff.mapping.fields]
    return tuple(name for name in now if name not in before), tuple(
        name for name in before if name not in now
    )


def _repeated(
    diff: Diff,
    found: Mapping[tuple[str, bool], list[int]],
    audience_rows: int,
    held_rows: int,
    null_keys: int,
) -> int:
    """Rows of the audience that repeat another's key.

    Counted without a pass of its own over the audience: the rows of an audience without repeats are the
    keys held, less those that left, and the new ones. What is over is repeats of held keys; repeats of new
    keys are all in the changes. In modes that remove nobody those who left are not in the changes, so it is
    counted.
    """
    if not diff.removes:
        ((repeated,),) = diff.warehouse.rows(
            statement(
                "select count(:key) - count(distinct :key) from :model as a",
                key=diff.key,
                model=diff.members.relation,
            )
        )
        return int(repeated)
    left, _, _ = found.get(("remove", True), (0, 0, 0))
    new, _, repeats_of_new = found.get(("add", False), (0, 0, 0))
    return int(audience_rows - (held_rows - left) - new + repeats_of_new - null_keys)
