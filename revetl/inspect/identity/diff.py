"""`revetl identity diff`: the effect of other rules on profiles and audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from revetl.inspect.identity.find import relation_of
from revetl.inspect.identity.preview import built_by, read_rules
from revetl.project.workspace import AudienceModel, Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement

LARGEST = 5
EXAMPLES = 5


@dataclass(frozen=True)
class LargeProfile:
    """One of the largest profiles under the new rules, and how many old profiles it consists of."""

    canonical_id: str
    identifiers: int
    old_profiles: int


@dataclass(frozen=True)
class AudienceChange:
    """Who would enter and leave an audience: counts, and a few keys. All are None if the audience hasn't been
    built."""

    audience: str
    key: str
    members_before: int | None
    members_after: int | None
    gained: int | None
    lost: int | None
    gained_examples: tuple[str, ...] = ()
    lost_examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProfilesDiff:
    """Profiles as last built by dbt, compared with those under the new rules. `merged` counts new profiles
    that combine several old ones, `split` old ones divided into several new ones, `identifiers_moved`
    identifiers whose profile has a different canonical id."""

    profiles_before: int
    profiles_after: int
    merged: int
    split: int
    identifiers_before: int
    identifiers_after: int
    identifiers_moved: int
    largest: tuple[LargeProfile, ...]
    audiences: tuple[AudienceChange, ...]


def diff(workspace: Workspace, rules: Path) -> ProfilesDiff:
    """Compute what the rules in a YAML file would change. The models are built with them in a temporary
    schema. Raises UsageError for invalid rules, WarehouseError if dbt or the warehouse fails, or the project
    isn't built."""
    new_rules = read_rules(rules)
    audiences = workspace.audiences()
    warehouse = workspace.warehouse(read_only=True)
    try:
        before = relation_of(workspace, warehouse, "int_revetl__identity_graph")
    finally:
        warehouse.close()
    with built_by(workspace, new_rules) as built:
        warehouse = workspace.warehouse(read_only=True)
        try:
            after = built.relations["model.revetl.int_revetl__identity_graph"]
            return ProfilesDiff(
                **_profiles(warehouse, before, after),
                largest=_largest(warehouse, before, after),
                audiences=tuple(_audience(warehouse, each, built.relations) for each in audiences),
            )
        finally:
            warehouse.close()


_PROFILES = """
with both_graphs as (
    select b.canonical_id as old_id, a.canonical_id as new_id
    from :before as b
    full outer join :after as a on a.identifier_id = b.identifier_id
),
new_profiles as (
    select new_id, count(distinct old_id) as olds from both_graphs where new_id is not null group by new_id
),
old_profiles as (
    select old_id, count(distinct new_id) as news from both_graphs where old_id is not null group by old_id
)
select
    (select count(*) from old_profiles) as profiles_before,
    (select count(*) from new_profiles) as profiles_after,
    (select count(*) from new_profiles where olds >= 2) as merged,
    (select count(*) from old_profiles where news >= 2) as split,
    (select count(*) from both_graphs where old_id is not null) as identifiers_before,
    (select count(*) from both_graphs where new_id is not null) as identifiers_after,
    (select count(*) from both_graphs where old_id <> new_id) as identifiers_moved
"""
_LARGEST = """
select a.canonical_id, count(*) as identifiers, count(distinct b.canonical_id) as olds
from :after as a
left join :before as b on b.identifier_id = a.identifier_id
group by a.canonical_id
order by 2 desc, 1
limit :most
"""
_MEMBERS = """
with old_keys as (select distinct cast(:key as varchar) as member from :before as m where :key is not null),
new_keys as (select distinct cast(:key as varchar) as member from :after as m where :key is not null),
gained as (select member from new_keys except select member from old_keys),
lost as (select member from old_keys except select member from new_keys)
select 'before' as what, cast(null as varchar) as member, count(*) as members from old_keys
union all select 'after', null, count(*) from new_keys
union all select 'gained', null, count(*) from gained
union all select 'lost', null, count(*) from lost
union all select * from (select 'gained' as what, member, 0 from gained order by member limit :most) as g
union all select * from (select 'lost' as what, member, 0 from lost order by member limit :most) as l
order by what, member
"""


def _profiles(warehouse: Warehouse, before: exp.Table, after: exp.Table) -> dict[str, int]:
    query = statement(_PROFILES, before=before, after=after)
    assert isinstance(query, exp.Query)
    (row,) = warehouse.rows(query)
    return dict(zip(query.named_selects, map(int, row), strict=True))


def _largest(warehouse: Warehouse, before: exp.Table, after: exp.Table) -> tuple[LargeProfile, ...]:
    rows = warehouse.rows(statement(_LARGEST, before=before, after=after, most=LARGEST))
    return tuple(LargeProfile(*row) for row in rows)


def _audience(
    warehouse: Warehouse, audience: AudienceModel, after: Mapping[str, exp.Table]
) -> AudienceChange:
    new = after.get(audience.model.unique_id)
    if new is None or not warehouse.exists(audience.relation):
        return AudienceChange(audience.name, audience.key, None, None, None, None)
    rows: list[tuple[Any, ...]] = warehouse.rows(
        statement(
            _MEMBERS, key=column(audience.key, of="m"), before=audience.relation, after=new, most=EXAMPLES
        )
    )
    counts = {what: int(members) for what, member, members in rows if member is None}
    examples = {
        name: tuple(member for what, member, _ in rows if what == name and member is not None)
        for name in ("gained", "lost")
    }
    return AudienceChange(
        audience=audience.name,
        key=audience.key,
        members_before=counts["before"],
        members_after=counts["after"],
        gained=counts["gained"],
        lost=counts["lost"],
        gained_examples=examples["gained"],
        lost_examples=examples["lost"],
    )
