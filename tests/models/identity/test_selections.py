"""Builds of a part of the models, between builds of all of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.models.traits.world import World

pytestmark = pytest.mark.slow

START = datetime(2026, 1, 1)
NOW = str(START + timedelta(days=30))
STARTS = (
    "int_revetl__identity_days",
    "int_revetl__identity_stars",
    "int_revetl__identity_changes",
    "int_revetl__identity_sightings",
    "int_revetl__identity_pairs",
    "int_revetl__identity_touched",
    "int_revetl__identity_identifiers",
    "int_revetl__identity_graph",
    "int_revetl__trait_events",
    "int_revetl__event_traits",
    "revetl_profiles",
)
TABLES = {
    "int_revetl__identity_sightings": "*",
    "int_revetl__identity_pairs": "*",
    "int_revetl__identity_identifiers": "*",
    "int_revetl__identity_nodes": "* exclude (component_id)",
    "int_revetl__identity_graph": "*",
    "int_revetl__identity_left_out": "*",
    "int_revetl__trait_events": "*",
    "int_revetl__event_traits": "* exclude (as_of)",
    "int_revetl__profile_traits": "*",
    "int_revetl__order_ranks": "* exclude (as_of)",
    "revetl_profile_merges": "*",
    "revetl_profiles": "*",
}
"""What builds make piece by piece, and what people query: table and the columns that are compared."""

VISITS = {
    "message_id": "id",
    "timestamp": "visited_at",
    "identifiers": {"user_id": "user_id", "anonymous_id": "device"},
}


class Shop:
    """A world with messages, and with visits that a model of the project has."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, {"visits": "{{ config(materialized='view') }} select * from seen_visits"})
        self.world.declare({}, identity={"models": {"visits": VISITS}})
        self.world.ask(
            "create table seen_visits (id varchar, user_id varchar, device varchar, visited_at timestamp)"
        )
        self.number = 0

    def change(self) -> None:
        """A person comes, by messages and by a visit; two become one, a message goes, one is edited, an
        alias and a late visit come."""
        one, two = self.number, max(self.number - 1, 0)
        self.number += 1
        self.world.load(
            lines=[
                _line(
                    "track", f"t{one}", one, userId=f"u{one}", anonymousId=f"a{one}", event="Order Completed"
                ),
                _line("track", f"x{one}", one, userId=f"u{one}", event="Order Completed"),
                _line("identify", f"i{one}", one, userId=f"u{one}", traits={"email": f"e{one}@example.com"}),
                _line(
                    "identify", f"j{one}", one, anonymousId=f"a{two}", traits={"email": f"e{one}@example.com"}
                ),
                _line("alias", f"l{one}", one, userId=f"u{one}", previousId=f"old{two}"),
            ]
        )
        for statement in (
            f"delete from raw.tracks where id = 'x{two}'",
            f"update raw.tracks set anonymous_id = 'b{one}' where id = 't{two}'",
            f"insert into seen_visits values ('v{one}', null, 'd{one}', '{START + timedelta(days=one)}')",
            f"insert into seen_visits values ('w{one}', 'u{one}', 'd{two}', '{START + timedelta(days=two)}')",
        ):
            self.world.ask(statement)

    def build(self, *arguments: str, select: str | None = None) -> None:
        self.world.build(*arguments, as_of=NOW, select=[select] if select else [])

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return {
            table: self.world.ask(f"select {columns} from {table} order by all")
            for table, columns in TABLES.items()
        }


def _line(kind: str, name: str, day: int, **members: Any) -> str:
    moment = f"{(START + timedelta(days=day)).isoformat()}Z"
    sent = {"type": kind, "messageId": name, "timestamp": moment, "receivedAt": moment}
    return json.dumps(sent | members)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Built twice: all that there was, and what changed after that."""
    shop = Shop(tmp_path_factory.mktemp("selections"))
    for _ in range(2):
        shop.change()
        shop.build()
    return shop


@pytest.mark.long
@pytest.mark.parametrize("start", STARTS)
def test_a_build_that_starts_at_a_model_neither_loses_nor_repeats_rows(shop: Shop, start: str) -> None:
    shop.build(select=f"{start}+")
    before = shop.rows()
    shop.change()
    shop.build(select=f"{start}+")
    found = shop.rows()
    for table in ("int_revetl__identity_graph", "revetl_profiles"):
        assert len(found[table]) >= len(before[table]), table
    assert_same(shop)


@pytest.mark.long
@pytest.mark.parametrize(
    ("end", "start"),
    [
        ("int_revetl__identity_days", "int_revetl__identity_sightings"),
        ("int_revetl__identity_changes", "int_revetl__identity_sightings"),
        ("int_revetl__identity_pairs", "int_revetl__identity_components"),
        ("int_revetl__identity_pairs", "int_revetl__identity_identifiers"),
        ("int_revetl__identity_graph", "int_revetl__event_traits"),
        ("int_revetl__trait_touched", "int_revetl__profile_traits"),
        ("int_revetl__event_traits", "int_revetl__order_ranks"),
    ],
)
def test_a_build_that_continues_after_another_neither_loses_nor_repeats_rows(
    shop: Shop, end: str, start: str
) -> None:
    shop.change()
    shop.build(select=f"+{end}")
    shop.change()
    shop.build(select=f"{start}+")
    assert_same(shop)


def assert_same(shop: Shop) -> None:
    """Fails unless a build of everything, and one that makes everything again, hold the same."""
    shop.build()
    found = shop.rows()
    shop.build("--full-refresh")
    again = shop.rows()
    assert len(again["revetl_profiles"]) > 0
    for table, rows in again.items():
        assert found[table] == rows, table
    # The next test begins after a build of what has changed.
    shop.change()
    shop.build()
