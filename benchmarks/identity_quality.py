"""How far profiles are people: precision and recall over pairs of identifiers."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
from people import GRAPH


@dataclass(frozen=True)
class Quality:
    """Pairs of identifiers whose person is known.

    `found_pairs` are in one profile, `true_pairs` of one person, and `right_pairs` both. `missing` identifiers
    are in no profile: their pairs are not found. `merged` profiles have more than one person, and `split`
    people more than one profile.
    """

    precision: float
    recall: float
    right_pairs: int
    found_pairs: int
    true_pairs: int
    identifiers: int
    missing: int
    people: int
    profiles: int
    merged: int
    split: int


def quality(
    connection: duckdb.DuckDBPyConnection,
    graph: str = GRAPH,
    truth: str = "bench.truth",
) -> Quality:
    """Compare `graph` (identifier_type, identifier_value, canonical_id) to the truth: a row an identifier.

    Pairs are not made, but counted from how many identifiers of each person each profile has.
    """
    query = f"""
        with cells as materialized (
            select t.person, g.canonical_id, count(*) as n
            from {truth} as t
            left join {graph} as g
                on g.identifier_type = t.identifier_type and g.identifier_value = t.identifier_value
            group by all
        ),
        people as (select sum(n) as n, count(distinct canonical_id) as profiles from cells group by person),
        profiles as (
            select sum(n) as n, count(*) as people from cells where canonical_id is not null group by canonical_id
        )
        select
            (select coalesce(sum(n * (n - 1) // 2), 0) from cells where canonical_id is not null),
            (select coalesce(sum(n * (n - 1) // 2), 0) from profiles),
            (select coalesce(sum(n * (n - 1) // 2), 0) from people),
            (select coalesce(sum(n), 0) from cells),
            (select coalesce(sum(n), 0) from cells where canonical_id is null),
            (select count(*) from people),
            (select count(*) from profiles),
            (select count(*) from profiles where people > 1),
            (select count(*) from people where profiles > 1)
    """
    (counts,) = connection.execute(query).fetchall()
    right, found, true, *others = (int(count) for count in counts)
    return Quality(
        right / found if found else 1.0, right / true if true else 1.0, right, found, true, *others
    )
