"""All audiences of a person at once: in or out, and which destinations hold them."""

from __future__ import annotations

from collections.abc import Iterator

from revetl.errors import UsageError
from revetl.inspect.explain.answer import AudienceOfPerson, HeldAt
from revetl.inspect.explain.facts import SyncRows
from revetl.inspect.explain.membership import is_member
from revetl.inspect.explain.person import find_person
from revetl.project.workspace import AudienceModel, Workspace
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse


def audiences_of(workspace: Workspace, asked: str) -> list[AudienceOfPerson]:
    """Return every audience of the project, with whether the person that `asked` identifies is in it, as
    built, and the syncs whose destinations hold them. Opens the warehouse read-only. Raises UsageError for an
    unknown person, and for an identifier of several people."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        found = [_of_audience(workspace, each, asked, warehouse, tables) for each in workspace.audiences()]
    finally:
        warehouse.close()
    if not found:
        raise UsageError("There are no audiences. An audience is a model with `config.meta.revetl`.")
    is_known = any(of.found_by is not None or of.member or of.held for of in found)
    if not is_known:
        raise UsageError(
            f"No person found for '{asked}': no audience has this key, and it is not an identifier in "
            "revetl_profiles or the identity graph. Check the spelling."
        )
    return found


def _of_audience(
    workspace: Workspace, audience: AudienceModel, asked: str, warehouse: Warehouse, tables: StateTables
) -> AudienceOfPerson:
    person = find_person(workspace, audience, asked, warehouse)
    is_built = warehouse.exists(audience.relation)
    return AudienceOfPerson(
        audience=audience.name,
        key=audience.key,
        keys=person.keys,
        found_by=person.found_by,
        member=is_member(audience, person, warehouse) if is_built else None,
        held=tuple(_held(audience, person.keys, warehouse, tables)),
    )


def _held(
    audience: AudienceModel, keys: tuple[str, ...], warehouse: Warehouse, tables: StateTables
) -> Iterator[HeldAt]:
    if not keys:
        return
    for sync in audience.syncs:
        for key, row in SyncRows(sync, keys, warehouse, tables).held().items():
            if row["row_hash"] is not None:
                yield HeldAt(sync.name, key, row["acknowledged_at"], row["run_id"])
