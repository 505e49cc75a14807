"""Why a person is or is not in an audience, and what held delivery back."""

from __future__ import annotations

from revetl.errors import UsageError
from revetl.inspect.explain.answer import Why
from revetl.inspect.explain.delivery import explain_delivery
from revetl.inspect.explain.membership import explain_membership
from revetl.inspect.explain.person import find_person
from revetl.project.workspace import Workspace

__all__ = ["Why", "explain"]


def explain(workspace: Workspace, asked: str, name: str, *, to: str | None = None) -> Why:
    """Why the person known by `asked` is or is not in the audience `name`, and what each of its syncs (or the
    one to `to`) makes of that. Opens the warehouse to read, and changes nothing.

    Raises UsageError for an audience or destination that is not there, a person that nothing knows, or an
    identifier of several people; WarehouseError when the audience was not built.
    """
    audience = workspace.audience(name)
    syncs = workspace.syncs(audience, to) if to is not None or audience.syncs else []
    warehouse = workspace.warehouse(read_only=True)
    try:
        workspace.built(audience, warehouse)
        person = find_person(workspace, audience, asked, warehouse)
        membership = explain_membership(workspace, audience, person, warehouse)
        delivery = tuple(explain_delivery(workspace, syncs, person, warehouse))
    finally:
        warehouse.close()
    is_seen = membership.member or any(step.rows for step in membership.steps)
    is_known = any(each.verdict != "not_a_member" or each.history for each in delivery)
    if not (person.is_resolved or is_seen or is_known):
        raise UsageError(
            f"Nobody is known by '{asked}': it is no {audience.key} that {name} or the tables it reads have, "
            "and no identifier that revetl_profiles or the identity graph have. Correct it."
        )
    return Why(name, audience.key, person, membership, delivery)
