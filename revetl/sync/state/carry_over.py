"""Rename the state of a sync whose audience or destination was renamed (`was:`)."""

from __future__ import annotations

from revetl.observability import logs
from revetl.project.workspace import Sync, Workspace
from revetl.sync.state import leases
from revetl.sync.state.identity import Identity, read_identity, record_identity
from revetl.sync.state.last_runs import rename_run
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

_RENAMED = (
    *("sync_intents", "sync_rejections", "sync_changes", "audience_holdouts", "sync_identities", "sync_runs"),
    "sync_trials",
    "sync_state",
)
"""Tables with a sync name. The state is last: as long as it has the old name, all are renamed again."""


def carry_over(
    warehouse: Warehouse,
    tables: StateTables,
    workspace: Workspace,
    sync: Sync,
    identity: Identity,
    run_id: str,
) -> str | None:
    """Rename a sync's rows in the state tables and its files on this machine, and return its former name.

    Does nothing if the sync already has state, or the former name has none. Raises Locked while the former
    sync is running. The audience keeps its former name at the destination. `identity` is recorded if the
    state was written by a version that recorded none."""
    former = former_name(warehouse, tables, workspace, sync)
    if former is not None:
        lease = leases.acquire(warehouse, tables, former, run_id)
        try:
            with warehouse.transaction():
                for name in _RENAMED:
                    warehouse.run(
                        statement(
                            "update :table set sync = :sync where sync = :former",
                            table=tables.named(name),
                            sync=sync.name,
                            former=former,
                        )
                    )
                audience = former.partition(".")[0]
                if audience != sync.audience.name:
                    before = read_identity(warehouse, tables, sync.name) or identity
                    kept = before.still_called(before.called or audience)
                    record_identity(warehouse, tables, sync.name, kept)
            runs = workspace.root / ".revetl" / "runs" / workspace.target.name
            if (runs / former).is_dir() and not (runs / sync.name).exists():
                (runs / former).rename(runs / sync.name)
            # Another sync may use the former name later, and must not match these runs.
            rename_run(workspace, former, sync.name)
        finally:
            leases.release(warehouse, tables, lease)
        logs.event("carried_over", sync=sync.name, former=former)
        workspace.say(f"{sync.name}: renamed its state from '{former}'.")
    return former


def former_name(warehouse: Warehouse, tables: StateTables, workspace: Workspace, sync: Sync) -> str | None:
    """Return the former name under which the state has the sync; None if it is there under its current
    name."""
    names = workspace.former_names(sync)
    if not names or not warehouse.exists(tables.state) or _holds(warehouse, tables, sync.name):
        return None
    return next((name for name in names if _holds(warehouse, tables, name)), None)


def _holds(warehouse: Warehouse, tables: StateTables, sync: str) -> bool:
    query = statement("select 1 from :state as s where s.sync = :sync limit 1", state=tables.state, sync=sync)
    return bool(warehouse.rows(query))
