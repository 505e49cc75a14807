"""`revetl identity show`: a profile, and the messages that created it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from revetl.errors import UsageError
from revetl.inspect.identity.find import (
    GraphIdentifier,
    check_type,
    identifiers_by_id,
    identifiers_called,
    known_types,
    listed,
    relation_of,
)
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement


@dataclass(frozen=True)
class ProfileIdentifier:
    """An identifier of the profile; the canonical one names it."""

    identifier_type: str
    identifier_value: str
    first_seen_at: datetime
    last_seen_at: datetime
    is_canonical: bool


@dataclass(frozen=True)
class Edge:
    """Two identifiers that occur together in messages of a type; `message_id` is the first such message."""

    left_type: str
    left_value: str
    right_type: str
    right_value: str
    source: str
    message_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    message_id: str | None


@dataclass(frozen=True)
class ProfileCut:
    """Two identifiers that were split, at least one of them in the profile."""

    left_type: str
    left_value: str
    right_type: str
    right_value: str
    cut_at: datetime


@dataclass(frozen=True)
class Merge:
    """Two profiles that were merged: `loser_id` is the canonical id that was lost."""

    loser_id: str
    survivor_id: str
    merged_at: datetime
    left_type: str
    left_value: str
    right_type: str
    right_value: str
    source: str
    message_id: str


@dataclass(frozen=True)
class Conflict:
    """An identifier (the right one) excluded from the left one's profile, and why."""

    left_type: str
    left_value: str
    left_canonical_id: str
    right_type: str
    right_value: str
    right_canonical_id: str
    kind: str
    reason: str
    limit_type: str | None
    limit_window: str | None
    limit_values: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    message_count: int

    @property
    def why(self) -> str:
        """Return the reason in words: `cut`, or `user_id: at most 1 ever`."""
        if self.reason != "limit":
            return self.reason
        window = "ever" if self.limit_window == "ever" else f"within a {self.limit_window}"
        return f"{self.limit_type}: at most {self.limit_values} {window}"


@dataclass(frozen=True)
class Profile:
    """A profile. `found_by` is how it was found: an identifier type, or a kind of id."""

    asked: str
    found_by: str
    canonical_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    identifiers: tuple[ProfileIdentifier, ...]
    edges: tuple[Edge, ...]
    cuts: tuple[ProfileCut, ...]
    merges: tuple[Merge, ...]
    conflicts: tuple[Conflict, ...]


def show(workspace: Workspace, asked: str, kind: str | None = None) -> Profile:
    """Return the profile of an identifier (its value, or `type:value`), of a canonical id, or of a lost one;
    `kind` restricts the identifier type. Raises UsageError if there is none or there are several,
    WarehouseError if the identity models aren't built."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        canonical_id, found_by = _profile_of(workspace, warehouse, asked, kind)
        return _read(workspace, warehouse, asked, canonical_id, found_by)
    finally:
        warehouse.close()


def _profile_of(workspace: Workspace, warehouse: Warehouse, asked: str, kind: str | None) -> tuple[str, str]:
    types = known_types(workspace, warehouse)
    check_type(kind, types)
    found = identifiers_called(workspace, warehouse, asked, kind)
    if len({each.canonical_id for each in found}) > 1:
        raise UsageError(_several(asked, found))
    if found:
        return found[0].canonical_id, found[0].type
    if kind is None and (by_id := _by_id(workspace, warehouse, asked)) is not None:
        return by_id
    of = "" if kind is None else f" of type {kind}"
    raise UsageError(
        f"No profile has the identifier '{asked}'{of}. Use a value as in the events, `type:value` (types: "
        f"{', '.join(types)}) or a canonical id; run `dbt build` if it was loaded since the last build. "
        "Values on the blocklist are in no profile."
    )


def _by_id(workspace: Workspace, warehouse: Warehouse, asked: str) -> tuple[str, str] | None:
    """Return the profile of a canonical id, of a lost one, or of another identifier's id."""
    lost = asked.strip().lower()
    merges = relation_of(workspace, warehouse, "revetl_profile_merges")
    rows = warehouse.rows(
        statement("select survivor_id from :merges as m where loser_id = :lost", merges=merges, lost=lost)
    )
    found = identifiers_by_id(workspace, warehouse, lost)
    if not found and rows:
        found = identifiers_by_id(workspace, warehouse, str(rows[0][0]))
    if not found:
        return None
    (own,) = found
    if own.canonical_id == lost:
        return own.canonical_id, "canonical id"
    return own.canonical_id, "lost canonical id" if rows else "identifier id"


def _several(asked: str, found: list[GraphIdentifier]) -> str:
    names = "; ".join(f"{each.named} (profile {each.canonical_id})" for each in found)
    if len({each.type for each in found}) == len(found):
        types = " or ".join(f"--type {each.type}" for each in found)
        return f"{len(found)} profiles have '{asked}': {names}. Choose one with {types}."
    return f"'{asked}' is ambiguous ({listed(found)}): {names}. Write type:value."


_MEMBERS = """
select g.identifier_type, g.identifier_value, g.first_seen_at, n.last_seen_at,
    g.identifier_id = g.canonical_id
from :graph as g
inner join :nodes as n on n.node_id = g.node_id
where g.canonical_id = :profile
order by g.first_seen_at, g.identifier_type, g.identifier_value
"""
_EDGES = """
with members as (
    select identifier_type, identifier_value from :graph as g where canonical_id = :profile
),
edges as (
    select e.*, l.identifier_type is not null and r.identifier_type is not null as is_within
    from :edges as e
    left join members as l on l.identifier_type = e.left_type and l.identifier_value = e.left_value
    left join members as r on r.identifier_type = e.right_type and r.identifier_value = e.right_value
    where (l.identifier_type is not null and r.identifier_type is not null)
        or (e.source = 'cut' and (l.identifier_type is not null or r.identifier_type is not null))
),
messages as (
    select s.source, s.left_type, s.left_value, s.right_type, s.right_value,
        min(s.message_id) as message_id
    from :sightings as s
    inner join edges as e
        on s.source = e.source and s.timestamp = e.first_seen_at
        and s.left_type = e.left_type and s.left_value = e.left_value
        and s.right_type = e.right_type and s.right_value = e.right_value
    group by s.source, s.left_type, s.left_value, s.right_type, s.right_value
)
select e.left_type, e.left_value, e.right_type, e.right_value, e.source, e.message_count, e.first_seen_at,
    e.last_seen_at, m.message_id
from edges as e
left join messages as m
    on m.source = e.source
    and m.left_type = e.left_type and m.left_value = e.left_value
    and m.right_type = e.right_type and m.right_value = e.right_value
order by e.first_seen_at, e.left_type, e.left_value, e.right_type, e.right_value, e.source
"""
_MERGES = """
select m.loser_id, m.survivor_id, m.merged_at, m.left_type, m.left_value, m.right_type, m.right_value,
    m.source, m.message_id
from :merges as m
inner join :graph as g on g.identifier_id = m.survivor_id
where g.canonical_id = :profile
order by m.merged_at, m.loser_id
"""
_CONFLICTS = """
select left_type, left_value, left_canonical_id, right_type, right_value, right_canonical_id, kind, reason,
    limit_type, limit_window, limit_values, first_seen_at, last_seen_at, message_count
from :conflicts as c
where left_canonical_id = :profile or right_canonical_id = :profile
order by first_seen_at, left_type, left_value, right_type, right_value, kind, reason, limit_type, limit_window
"""


def _read(
    workspace: Workspace, warehouse: Warehouse, asked: str, canonical_id: str, found_by: str
) -> Profile:
    def rows(query: str, **models: str) -> list[tuple[Any, ...]]:
        relations: dict[str, exp.Table] = {
            part: relation_of(workspace, warehouse, name) for part, name in models.items()
        }
        return warehouse.rows(statement(query, profile=canonical_id, **relations))

    graph, sightings = "int_revetl__identity_graph", "int_revetl__identity_sightings"
    members = tuple(
        ProfileIdentifier(*row) for row in rows(_MEMBERS, graph=graph, nodes="int_revetl__identity_nodes")
    )
    edges = [
        Edge(*row) for row in rows(_EDGES, graph=graph, edges="revetl_identity_edges", sightings=sightings)
    ]
    return Profile(
        asked=asked,
        found_by=found_by,
        canonical_id=canonical_id,
        first_seen_at=min(each.first_seen_at for each in members),
        last_seen_at=max(each.last_seen_at for each in members),
        identifiers=members,
        edges=tuple(each for each in edges if each.source != "cut"),
        cuts=tuple(
            ProfileCut(each.left_type, each.left_value, each.right_type, each.right_value, each.first_seen_at)
            for each in edges
            if each.source == "cut"
        ),
        merges=tuple(Merge(*row) for row in rows(_MERGES, graph=graph, merges="revetl_profile_merges")),
        conflicts=tuple(Conflict(*row) for row in rows(_CONFLICTS, conflicts="revetl_identity_conflicts")),
    )
