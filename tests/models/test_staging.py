"""Staged messages that builds bring up to date, against a build that makes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.models.traits.world import World

pytestmark = pytest.mark.slow

START = datetime(2026, 1, 1)
STAGED = ("stg_revetl__tracks", "stg_revetl__identifies", "stg_revetl__pages")
MADE_OF_THEM = (
    "int_revetl__identity_graph",
    "int_revetl__identity_sightings",
    "int_revetl__trait_events",
    "revetl_profiles",
    "revetl_mtu_monthly",
)
TRAITS = {
    "orders": {"type": "count", "event": "Ordered"},
    "spent": {"type": "sum", "event": "Ordered", "property": "price"},
}


def message(kind: str, number: int, day: float, **members: Any) -> str:
    """A line of a message of user `number % 3`, sent on a day."""
    sent = {"type": kind, "messageId": f"m{number}", "userId": f"u{number % 3}", "anonymousId": f"a{number}"}
    moment = f"{(START + timedelta(days=day)).isoformat()}Z"
    return json.dumps({**sent, "timestamp": moment, "receivedAt": moment, **members})


def ordered(number: int, day: float, price: int = 2) -> str:
    return message("track", number, day, event="Ordered", properties={"price": price})


def identified(number: int, day: float, email: str) -> str:
    return message("identify", number, day, traits={"email": email})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Messages of a few days, built as of day 10."""
    world = World(tmp_path_factory.mktemp("staging"))
    world.declare(TRAITS, order_traits={})
    lines = [ordered(number, number) for number in range(8)]
    lines += [identified(number, number, f"e{number}@example.com") for number in range(20, 26)]
    lines += [message("page", number, number - 30, name="Home") for number in range(30, 36)]
    world.load(lines=lines)
    world.build(as_of=day(10))
    return world


def day(number: float) -> str:
    return str(START + timedelta(days=number))


def rows(world: World, tables: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    return {table: world.ask(f"select * from {table} order by all") for table in tables}


def change(world: World, statement: str) -> Callable[[], object]:
    return lambda: world.ask(statement)


@pytest.mark.long
def test_what_changes_is_as_in_a_build_that_makes_everything_again(world: World) -> None:
    later = ", ".join(f"{name} + interval 5 day as {name}" for name in ("timestamp", "received_at"))
    second = f"insert into raw.tracks by name select * replace ({later}) from raw.tracks where id = 'm1'"
    changes: list[tuple[str, Callable[[], object], str]] = [
        ("a late message", lambda: world.load(lines=[ordered(9, 0.5)]), "10"),
        (
            "an edited document",
            change(world, """update raw.tracks set properties = '{"price": 7}' where id = 'm2'"""),
            "10",
        ),
        (
            "an edited identity",
            change(world, "update raw.identifies set user_id = 'u9' where id = 'm21'"),
            "10",
        ),
        (
            "an edited time",
            change(world, "update raw.pages set timestamp = timestamp - interval 2 day where id = 'm31'"),
            "10",
        ),
        ("delivered again, later", change(world, second), "10"),
        (
            "without the first delivery",
            change(world, f"delete from raw.tracks where id = 'm1' and timestamp < '{day(3)}'"),
            "10",
        ),
        ("deleted", change(world, "delete from raw.tracks where id in ('m3', 'm4')"), "10"),
        ("as of an earlier day", lambda: None, "5"),
        ("as of a later day", lambda: None, "20"),
    ]
    for label, make, moment in changes:
        make()
        world.build(as_of=day(float(moment)))
        found = rows(world, STAGED + MADE_OF_THEM)
        world.build("--full-refresh", as_of=day(float(moment)))
        again = rows(world, STAGED + MADE_OF_THEM)
        for table in again:
            assert found[table] == again[table], (label, table)


@pytest.mark.long
def test_a_build_that_stops_after_staging_loses_no_changes(world: World) -> None:
    world.build(as_of=day(20))
    world.load(lines=[ordered(50, 15, price=40), identified(52, 15, "late@example.com")])
    world.build(as_of=day(20), select=["+stg_revetl__tracks", "+stg_revetl__identifies"])
    assert world.ask("select count(*) as number from int_revetl__message_changes") == [{"number": 2}]
    world.build(as_of=day(20))
    assert world.ask("select count(*) as number from int_revetl__message_changes") == [{"number": 0}]
    found = rows(world, MADE_OF_THEM)
    world.build("--full-refresh", as_of=day(20))
    assert rows(world, MADE_OF_THEM) == found
    assert {row["email"] for row in found["revetl_profiles"]} >= {"late@example.com"}


@pytest.mark.long
def test_only_messages_that_changed_are_recorded(world: World) -> None:
    world.build(as_of=day(20))
    world.load(lines=[ordered(60, 0.6)])
    world.build(as_of=day(20), select=["+stg_revetl__tracks"])
    found = world.ask("select source, message_id from int_revetl__message_changes")
    assert found == [{"source": "track", "message_id": "m60"}]
    world.build(as_of=day(20))


@pytest.mark.long
def test_a_staged_table_that_is_gone_makes_everything_again(world: World) -> None:
    world.build(as_of=day(20))
    before = rows(world, STAGED + MADE_OF_THEM)
    world.ask("drop table stg_revetl__identifies")
    world.ask("update raw.identifies set traits = '{\"email\": \"other@example.com\"}' where id = 'm20'")
    world.build(as_of=day(20))
    found = rows(world, STAGED + MADE_OF_THEM)
    assert found["revetl_profiles"] != before["revetl_profiles"]
    world.build("--full-refresh", as_of=day(20))
    assert rows(world, STAGED + MADE_OF_THEM) == found
