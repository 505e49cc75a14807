"""Collect the inputs of a plan: the mapping, the state, the eligible members, and the state's identity."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from revetl.destinations.base.destination import Destination
from revetl.governance.pii import hider_of
from revetl.governance.transformations import TRANSFORMATIONS_FILE
from revetl.mapping.fields import (
    FieldMapping,
    MissingColumn,
    check_found,
    make_mapping,
)
from revetl.project.workspace import Sync, Workspace, not_built
from revetl.sync.plan.daily_limits import daily_limit_of
from revetl.sync.plan.diff import Diff, hash_name, hashed_values
from revetl.sync.plan.eligibility import members_of
from revetl.sync.plan.former_texts import has_former
from revetl.sync.plan.late_identifiers import finishers, made_by
from revetl.sync.plan.pii import give_salt, hidden
from revetl.sync.plan.presence import Presence
from revetl.sync.plan.spellings import UnchangedCondition, spelled_of
from revetl.sync.plan.state_summary import find_places, read_facts
from revetl.sync.plan.suppressed import identified_by
from revetl.sync.state.identity import (
    Identity,
    identity_of,
)
from revetl.sync.state.last_runs import remembered_run
from revetl.sync.state.tables import StateTables
from revetl.sync.stop import Stop
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement


@dataclass(frozen=True)
class ColumnsLost:
    """The audience has lost columns whose values were sent, so nothing can be compared."""

    held_rows: int
    stop: Stop


def read_inputs(
    workspace: Workspace,
    sync: Sync,
    destination: Destination,
    warehouse: Warehouse,
    tables: StateTables,
    *,
    full_refresh: bool = False,
    marked: str | None = None,
) -> Diff | ColumnsLost:
    """Return the diff of a sync, or the lost columns whose values were sent.

    With `full_refresh`, a destination that differs from the previous one starts with no members. `marked` is
    the last run recorded at the destination. Raises UsageError for an invalid mapping and WarehouseError for
    a model that was not built.
    """
    audience = sync.audience
    presence = Presence.of(sync.config.mode, destination)
    here = remembered_run(workspace, sync.name)
    # Run IDs start with a timestamp, so they sort by start time.
    remembered = max(filter(None, (here, marked)), default=None)
    places = find_places(sync, warehouse, tables)
    if places.columns is None:
        raise not_built(audience)
    try:
        mapping = make_mapping(audience.key, sync.config, destination, places.columns, sync.place)
    except MissingColumn as missing:
        held = read_facts(sync, warehouse, tables, places, "", presence).held_rows
        if not held:
            raise
        stop = Stop("columns", str(missing), forceable=False)
        return ColumnsLost(held, stop)
    check_found(sync.config, destination, mapping, sync.place)
    identified, whole = identified_by(mapping, destination), mapping
    if (hider := hider_of(workspace.root, sync.config.to)) is not None:
        mapping = hidden(mapping, hider, f"{sync.place} ({TRANSFORMATIONS_FILE}: pii)")
        if hider.hashes:
            give_salt(warehouse, hider)
    mapping = _typed(mapping, warehouse, audience.relation)
    hash_by = hash_name(warehouse, mapping)
    by = made_by() if mapping.is_late else None
    facts = read_facts(sync, warehouse, tables, places, hash_by, presence, remembered, by)
    identity = identity_of(workspace, sync, destination)
    starts_over = full_refresh and bool(identity.moved_destination(Identity.read(facts.identity)))
    if starts_over:
        facts = facts.holding_nobody()
    members = members_of(
        workspace,
        sync,
        places.columns,
        facts,
        warehouse,
        tables,
        identified,
        spelled_of(whole, mapping, destination, places.columns, identified),
        destination.phone_region,
        _unchanged(warehouse, tables, sync, mapping, hash_by) if facts.has_state else None,
    )
    diff = Diff(
        warehouse=warehouse,
        tables=tables,
        sync=sync.name,
        members=members,
        mapping=mapping,
        mode=sync.config.mode,
        facts=facts,
        finishers=finishers(destination),
        presence=presence,
        identity=identity,
        starts_over=starts_over,
        remembered=remembered,
        is_marked=remembered != here,
        daily_limit=daily_limit_of(destination, sync, warehouse, tables),
    )
    return replace(
        diff,
        is_old=facts.has_state and diff.mapping.is_late and has_former(warehouse, tables.state, diff.sync),
    )


def _unchanged(
    warehouse: Warehouse, tables: StateTables, sync: Sync, mapping: FieldMapping, hash_by: str
) -> UnchangedCondition:
    key = exp.cast(column(sync.audience.key, of="a"), "varchar")
    test = statement(
        "h.sync = :sync and h.key = :key and h.row_hash = :row_hash and h.hash_by = :hash_by",
        sync=sync.name,
        key=key,
        row_hash=warehouse.row_hash(hashed_values(mapping)),
        hash_by=hash_by,
    )
    return UnchangedCondition(tables.state, key, test)


def _typed(mapping: FieldMapping, warehouse: Warehouse, model: exp.Table) -> FieldMapping:
    """Add the types of the mapping's expressions, which only the engine knows."""
    untyped = mapping.untyped()
    if not untyped:
        return mapping
    query = exp.select(*(exp.alias_(made, name, quoted=True) for name, made in untyped.items()))
    return mapping.typed(warehouse.columns(query.from_(model)))
