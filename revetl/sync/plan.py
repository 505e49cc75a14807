"""The plan: what a sync would do, from the diff in the warehouse; nothing is changed and nothing sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson
from sqlglot import exp

from revetl.destinations.base import SENSITIVE, Destination, Records
from revetl.mapping import FieldMapping, make_mapping
from revetl.project import Sync, Workspace
from revetl.sql import statement
from revetl.sync import guard
from revetl.sync.batches import cut_batches, record_of
from revetl.sync.diff import Diff
from revetl.sync.spool import OPERATIONS
from revetl.sync.tables import Tables
from revetl.transport import redact
from revetl.warehouse import Warehouse


@dataclass(frozen=True)
class Request:
    """One exact request of a plan, without its secrets."""

    operation: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True)
class Plan:
    """What a sync would do. `rejected` counts records that wait because the destination refused them and
    their rows have not changed since; `kept`, members who left under a key that another member took over."""

    sync: str
    audience: str
    destination: str
    mode: str
    audience_rows: int
    held_rows: int
    add: int
    update: int
    remove: int
    kept: int
    rejected: int
    stops: tuple[guard.Stop, ...]
    requests: tuple[Request, ...] = ()

    @property
    def changes(self) -> int:
        """Records to send."""
        return self.add + self.update + self.remove

    @property
    def counts(self) -> dict[str, int]:
        """Records to send by operation."""
        return {"add": self.add, "update": self.update, "remove": self.remove}


def make_diff(workspace: Workspace, sync: Sync, warehouse: Warehouse, tables: Tables) -> Diff:
    """The diff of a sync. Raises UsageError for a wrong mapping, WarehouseError for a model not built."""
    audience = sync.audience
    columns = warehouse.columns(workspace.built(audience, warehouse))
    mapping = make_mapping(audience.key, sync.config, workspace.destination_class(sync), columns, sync.place)
    return Diff(
        warehouse=warehouse,
        tables=tables,
        sync=sync.name,
        model=audience.relation,
        mapping=_typed(mapping, warehouse, audience.relation),
        mirror=sync.config.mode == "mirror",
        has_state=tables.exist(warehouse),
    )


def _typed(mapping: FieldMapping, warehouse: Warehouse, model: exp.Table) -> FieldMapping:
    """The mapping with the types of its expressions, which only the engine knows."""
    untyped = [item for item in (*mapping.identifiers, *mapping.fields) if not item.type]
    if not untyped:
        return mapping
    query = exp.select(*(exp.alias_(item.expression, item.name, quoted=True) for item in untyped)).from_(
        model
    )
    types = warehouse.columns(query)
    return replace(
        mapping,
        identifiers=tuple(replace(item, type=item.type or types[item.name]) for item in mapping.identifiers),
        fields=tuple(replace(item, type=item.type or types[item.name]) for item in mapping.fields),
    )


def make_plan(workspace: Workspace, sync: Sync, diff: Diff, *, full_refresh: bool, retry: bool) -> Plan:
    """Run the diff, leaving the changed keys in the warehouse's temporary table, and count it.

    `full_refresh` plans every member anew; `retry` plans what was rejected before, too.
    """
    warehouse = diff.warehouse
    ((held_rows, uncertain, otherwise),) = warehouse.rows(diff.probe())
    warehouse.run(diff.changes(uncertain=uncertain > 0, otherwise=otherwise > 0, full_refresh=full_refresh))
    found = {(operation, held): rest for operation, held, *rest in warehouse.rows(diff.counts())}
    ((audience_rows,),) = warehouse.rows(statement("select count(*) from :model as a", model=diff.model))
    null_keys = sum(nulls for _, nulls, _ in found.values())
    repeated = _repeated(diff, found, audience_rows, held_rows, null_keys)
    if otherwise and not full_refresh:
        warehouse.run(diff.rehash())
    if not diff.mapping.by_key:
        warehouse.run(diff.rekey())
        warehouse.run(diff.forget())
    before = _by_operation(diff)
    if diff.has_state and not (full_refresh or retry):
        warehouse.run(diff.drop_rejected())
    counts = _by_operation(diff)
    removes = counts.get("remove", 0)
    if rekeyed := counts.get("rekey", 0):
        ((removes,),) = warehouse.rows(
            statement("select count(*) from :leaving as l", leaving=exp.Subquery(this=diff.leaving("")))
        )
    adds, updates = counts.get("add", 0) + rekeyed, counts.get("update", 0)
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
        failed_tests=tuple(workspace.manifest.failed_tests(sync.audience.model)),
    )
    return Plan(
        sync=sync.name,
        audience=sync.audience.name,
        destination=sync.config.to,
        mode=sync.config.mode,
        audience_rows=audience_rows,
        held_rows=held_rows,
        add=adds,
        update=updates,
        remove=removes,
        kept=counts.get("forget", 0),
        rejected=sum(before.values()) - sum(counts.values()),
        stops=tuple(guard.judge(change, diff)),
    )


def _by_operation(diff: Diff) -> dict[str, int]:
    totals: dict[str, int] = {}
    for operation, _, count, *_ in diff.warehouse.rows(diff.counts()):
        totals[operation] = totals.get(operation, 0) + count
    return totals


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
    keys are all in the changes. In `upsert` mode those who left are not in the changes, so it is counted.
    """
    if not diff.mirror:
        ((repeated,),) = diff.warehouse.rows(
            statement(
                "select count(:key) - count(distinct :key) from :model as a", key=diff.key, model=diff.model
            )
        )
        return int(repeated)
    left, _, _ = found.get(("remove", True), (0, 0, 0))
    new, _, repeats_of_new = found.get(("add", False), (0, 0, 0))
    return int(audience_rows - (held_rows - left) - new + repeats_of_new - null_keys)


def sample(plan: Plan, sync: Sync, diff: Diff, destination: Destination, size: int) -> Plan:
    """The plan with the exact requests for up to `size` records of each operation."""
    requests: list[Request] = []
    for operation in OPERATIONS:
        query = diff.leaving("plan", size) if operation == "remove" else diff.sending(operation, "plan", size)
        rows = diff.warehouse.rows(query)
        records = [record_of(key, *texts) for _, key, _, *texts in rows]
        whole = Records(sync.name, sync.audience.name, "plan", operation, ())
        cuts = cut_batches(destination, sync.config.mode, whole, [(0, records)])
        requests += [show(operation, cut.request, destination) for cut in cuts if cut.request is not None]
    return replace(plan, requests=tuple(requests))


def show(operation: str, request: object, destination: Destination) -> Request:
    """A request as a person may see it: secrets replaced, the body as JSON where it is JSON."""
    import httpx

    assert isinstance(request, httpx.Request)
    secrets = destination.secrets()
    text = redact(request.content.decode(errors="replace"), secrets)
    try:
        body: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = text
    headers = {
        name: "***" if SENSITIVE.search(name) else redact(value, secrets)
        for name, value in request.headers.items()
        if name.lower() not in {"content-length", "host"}
    }
    return Request(operation, request.method, redact(str(request.url), secrets), headers, body)
