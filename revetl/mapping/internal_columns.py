"""Internal columns of revetl's models, which syncs don't send unless they are mapped explicitly."""

from __future__ import annotations

from collections.abc import Collection, Iterable

PERSON = "canonical_id"
"""The column of the package's models that identifies a person."""

INTERNAL = frozenset(
    {
        *("canonical_id", "left_canonical_id", "right_canonical_id", "example_canonical_id"),
        *("node_id", "left_node", "right_node", "profile_node", "loser_node", "survivor_node"),
        *("identifier_id", "component_id", "cluster_id", "unit_id", "sighting_hash"),
        *("unfit_traits", "is_clock_ahead", "uuid_ts"),
        *("dbt_scd_id", "dbt_updated_at", "dbt_valid_from", "dbt_valid_to", "dbt_is_deleted"),
    }
)
"""Names used only by the identity graph, the bookkeeping of traits and messages, and dbt's snapshots."""

_BESIDE = {
    "as_of": frozenset({"profile_node"}),
    "made_by": frozenset({"profile_node", "node_id"}),
    "loaded_at": frozenset({"message_id"}),
    "recorded_at": frozenset({"entered_at"}),
}
"""Names that a project may use too, and the columns that mark them as revetl's when in the same model."""

_SET_AT = "_set_at"
"""The suffix, in `revetl_profiles`, of the time at which a trait was set."""


def without_internal(columns: Iterable[str]) -> list[str]:
    """Return a model's columns, in order and case, without internal ones: ids of profiles and nodes,
    bookkeeping, and the times at which traits were set."""
    there = list(columns)
    names = {name.lower() for name in there}
    return [name for name in there if not is_internal(name.lower(), names)]


def is_internal(name: str, there: Collection[str]) -> bool:
    """Whether a column is internal, given all columns of the model, in lower case."""
    if name in INTERNAL or not _BESIDE.get(name, frozenset()).isdisjoint(there):
        return True
    return name.endswith(_SET_AT) and name.removesuffix(_SET_AT) in there
