"""Explains why a person is or isn't in an audience, and what prevented delivery."""

from __future__ import annotations

from revetl.errors import UsageError
from revetl.inspect.explain.answer import Explanation
from revetl.inspect.explain.delivery import explain_delivery
from revetl.inspect.explain.membership import explain_membership
from revetl.inspect.explain.person import find_person
from revetl.project.workspace import Workspace

__all__ = ["Explanation", "explain"]


def explain(workspace: Workspace, asked: str, name: str, *, to: str | None = None) -> Explanation:
    """Explain why the person identified by `asked` is or isn't in the audience `name`, and the outcome at
    each of its syncs (or the one to `to`). Opens the warehouse read-only.

    Raises UsageError for an unknown audience or destination, an unknown person, or an ambiguous identifier;
    WarehouseError if the audience wasn't built.
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
            f"No person found for '{asked}': it is not a {audience.key} in {name} or the tables it reads, "
            "and not an identifier in revetl_profiles or the identity graph. Check the spelling."
        )
    return Explanation(name, audience.key, person, membership, delivery)
