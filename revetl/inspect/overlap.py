"""Compares audiences as they were built: who is in both, and who is in only one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sqlglot import exp

from revetl.errors import UsageError
from revetl.mapping.internal_columns import PERSON
from revetl.project.workspace import AudienceModel, Workspace, not_built
from revetl.warehouse.templates import column, query

SHARE_DIGITS = 4


@dataclass(frozen=True)
class Size:
    """An audience and its number of members."""

    audience: str
    members: int


@dataclass(frozen=True)
class Pair:
    """Two audiences. People are matched by column `matched_on`; the shares are the part of each audience that
    is also in the other, None for an empty audience."""

    first: str
    second: str
    matched_on: str
    both: int
    only_first: int
    only_second: int
    share_of_first: float | None
    share_of_second: float | None
    jaccard: float | None


@dataclass(frozen=True)
class Overlap:
    """Audiences with their sizes, and every pair of them."""

    audiences: tuple[Size, ...]
    pairs: tuple[Pair, ...]


def overlap(workspace: Workspace, names: Sequence[str]) -> Overlap:
    """Compare audiences as they were last built. Two are matched on canonical_id if both have it, else on
    their key. Raises UsageError for fewer than two audiences, duplicates, or different key columns;
    WarehouseError for an audience that isn't built."""
    if len(names) < 2:
        raise UsageError("An overlap needs at least two audiences. Add another name.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{twice} is listed twice. Name each audience once.")
    audiences = [workspace.audience(name) for name in names]
    warehouse = workspace.warehouse(read_only=True)
    try:
        found = warehouse.catalog([audience.relation for audience in audiences])
        columns: list[set[str]] = []
        for audience, known in zip(audiences, found, strict=True):
            if known is None:
                raise not_built(audience)
            columns.append({name.lower() for name in known})
        matched = {
            (first, second): _matched_on(audiences, columns, first, second)
            for first, second in combinations(range(len(audiences)), 2)
        }
        size_by = [
            PERSON if PERSON in known else audience.key
            for audience, known in zip(audiences, columns, strict=True)
        ]
        needed = {(place, by) for pair, by in matched.items() for place in pair}
        needed |= set(enumerate(size_by))
        text = warehouse.type_of("varchar")
        rows = warehouse.rows(_counting(audiences, sorted(needed), text))
    finally:
        warehouse.close()
    counts = {(int(first), int(second), str(by)): int(count) for first, second, by, count in rows}
    sizes = [
        Size(audience.name, counts.get((place, place, size_by[place]), 0))
        for place, audience in enumerate(audiences)
    ]
    return Overlap(
        tuple(sizes),
        tuple(_pair(audiences, counts, first, second, by) for (first, second), by in matched.items()),
    )


def _matched_on(audiences: Sequence[AudienceModel], columns: Sequence[set[str]], *pair: int) -> str:
    if all(PERSON in columns[place] for place in pair):
        return PERSON
    first, second = (audiences[place] for place in pair)
    if first.key != second.key:
        raise UsageError(
            f"{first.name} and {second.name} cannot be compared: their keys are {first.key} and "
            f"{second.key}, and not both have {PERSON}. Make both select {PERSON}."
        )
    return first.key


def _counting(
    audiences: Sequence[AudienceModel], needed: Sequence[tuple[int, str]], text: exp.DataType
) -> exp.Expr:
    """Count the members of each audience and of each pair, by each column, in one statement."""
    parts = [
        query(
            "select distinct cast(:place as int) as audience, cast(:by as varchar(100)) as matched_on, "
            ":member as member from :model as a where :key is not null",
            place=place,
            by=by,
            member=exp.Cast(this=column(by, "a"), to=text),
            model=audiences[place].relation,
            key=column(by, "a"),
        )
        for place, by in needed
    ]
    members = parts[0]
    for part in parts[1:]:
        members = exp.union(members, part, distinct=False)
    counted = query(
        "select a.audience as first_audience, b.audience as second_audience, a.matched_on, "
        "count(*) as members "
        "from members as a inner join members as b "
        "on a.matched_on = b.matched_on and a.member = b.member and a.audience <= b.audience "
        "group by a.audience, b.audience, a.matched_on"
    )
    return counted.with_("members", as_=members)


def _pair(
    audiences: Sequence[AudienceModel],
    counts: dict[tuple[int, int, str], int],
    first: int,
    second: int,
    by: str,
) -> Pair:
    of_first, of_second = counts.get((first, first, by), 0), counts.get((second, second, by), 0)
    both = counts.get((first, second, by), 0)
    return Pair(
        first=audiences[first].name,
        second=audiences[second].name,
        matched_on=by,
        both=both,
        only_first=of_first - both,
        only_second=of_second - both,
        share_of_first=_share(both, of_first),
        share_of_second=_share(both, of_second),
        jaccard=_share(both, of_first + of_second - both),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, SHARE_DIGITS) if whole else None
