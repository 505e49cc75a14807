"""`revetl state`: show the identity recorded with each sync's state, and adopt the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from revetl.errors import UsageError
from revetl.project.workspace import Sync, Workspace
from revetl.sync.state import leases
from revetl.sync.state.identity import (
    Identity,
    destination_stop,
    identity_of,
    read_identity,
    record_identity,
    warehouse_stop,
)
from revetl.sync.state.last_runs import forget_run
from revetl.sync.state.tables import state_tables


def state_identities(
    workspace: Workspace, syncs: Sequence[Sync], *, skips_wrong: bool = False
) -> list[dict[str, Any]]:
    """Return the state identity of each sync.

    `recorded` is the identity in the warehouse (None if there is none), `now` the one that a run would
    record, and `stops` the reasons why a run would stop because the two differ. With `skips_wrong`, leave out
    syncs whose destination is misconfigured."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        has_any = tables.exist(warehouse) and warehouse.exists(tables.identities)
        found = []
        for sync in syncs:
            before = read_identity(warehouse, tables, sync.name) if has_any else None
            try:
                now = identity_of(workspace, sync, workspace.destination(sync, placeholders=True))
            except UsageError:
                if skips_wrong:
                    continue
                raise
            stops = (
                warehouse_stop(sync.name, before, now),
                destination_stop(sync.name, sync.config.to, before, now),
            )
            found.append(
                {
                    "sync": sync.name,
                    "recorded": before and _shown(before),
                    "now": _shown(now),
                    "stops": [stop.message for stop in stops if stop is not None],
                }
            )
        return found
    finally:
        warehouse.close()


def adopt_state(workspace: Workspace, syncs: Sequence[Sync]) -> list[dict[str, Any]]:
    """Record the current identity of each sync's state, forget the last run that this machine remembers, and
    accept that the state may lack a run. The rows of the state stay as they are.

    Return what `state_identities` returned before the change. Raises UsageError when no run has written state
    yet."""
    before = state_identities(workspace, syncs)
    with workspace.writing() as warehouse:
        tables = state_tables(workspace, warehouse.database)
        if not tables.exist(warehouse):
            raise UsageError(
                f"There is no state in schema '{workspace.state_schema}' to adopt. "
                "`revetl sync` creates it with the first run."
            )
        tables.create(warehouse)
        for sync in syncs:
            # Needs real credentials: adopting confirms which account the state belongs to.
            now = identity_of(workspace, sync, workspace.destination(sync))
            kept = read_identity(warehouse, tables, sync.name)
            with warehouse.transaction():
                accepted = now.kept_from(kept).accepting(leases.now())
                record_identity(warehouse, tables, sync.name, accepted)
    for sync in syncs:
        forget_run(workspace, sync.name)
    return before


def _shown(identity: Identity) -> dict[str, dict[str, str]]:
    """Return an identity without hashes of secrets and timestamps."""
    hidden = ("credential", "accepted", "key_column")
    to = {name: value for name, value in identity.delivered_to.items() if name not in hidden}
    return {"written_by": dict(identity.written_by), "delivered_to": to}
