"""Traits of builds in any split, as of later and later, against the reference and a build anew.

Messages come late and go, people merge, declarations change, builds stop half-way. As a dbt run takes
seconds, Hypothesis draws a seed, and does not shrink it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.models.traits.chances import START, a_line, a_trait, some_traits
from tests.models.traits.reference import event_trait, messages, with_nothing
from tests.models.traits.world import World

pytestmark = pytest.mark.slow

PEOPLE = 60
HALF_BUILT = [
    "+int_revetl__identity_changes",
    "+int_revetl__identity_graph",
    "+int_revetl__trait_events",
    "+int_revetl__trait_touched",
    "+int_revetl__event_traits",
]
TABLES = ("int_revetl__event_traits", "revetl_computed_traits")


class Shop:
    """A world whose messages a test adds and takes away."""

    def __init__(self, folder: Path, traits: dict[str, dict[str, Any]], *, like: World | None = None) -> None:
        self.world = World(folder, like=like)
        self.lines: dict[str, str] = {}
        self.declare(traits)

    def declare(self, traits: dict[str, dict[str, Any]]) -> None:
        self.traits = dict(traits)
        self.world.declare(self.traits, order_traits={})

    def add(self, *lines: str) -> None:
        self.world.load(lines=lines)
        self.lines |= {json.loads(line)["messageId"]: line for line in lines}

    def delete(self, *message_ids: str) -> None:
        for message_id in message_ids:
            del self.lines[message_id]
            for table in ("tracks", "pages", "identifies"):
                self.world.ask(f"delete from raw.{table} where id = '{message_id}'")

    def build(self, now: datetime, *arguments: str, select: str | None = None) -> None:
        self.world.build(*arguments, as_of=str(now), select=[select] if select else [])

    def rows(self, table: str) -> list[dict[str, Any]]:
        columns = "* exclude (as_of, made_by)" if table == "int_revetl__event_traits" else "*"
        return self.world.ask(f"select {columns} from {table} order by canonical_id")

    def check(self, now: datetime) -> None:
        """Fails unless every trait of every profile is the reference's."""
        events = messages(self.lines.values(), now)
        profiles = {
            (row["source"], row["message_id"]): row["canonical_id"]
            for row in self.world.ask("select source, message_id, canonical_id from revetl_events")
        }
        keys = zip(events["source"], events["message_id"], strict=True)
        events = events.assign(person=[profiles[key] for key in keys])
        found = {row["canonical_id"]: row for row in self.world.ask("select * from revetl_profiles")}
        assert set(events["person"]) <= found.keys()
        for name, declared in self.traits.items():
            theirs = event_trait(events, declared, now)
            for person, row in found.items():
                value = row[name]
                if declared["type"] == "unique_list" and value is not None:
                    value = json.loads(value)
                expected = with_nothing(theirs.get(person), declared)
                assert value == expected, (name, declared, person, value, expected, str(now))


@pytest.mark.long
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)
@given(seed=st.integers(0, 2**32 - 1))
def test_builds_in_any_split_are_the_reference_and_a_build_anew(seed: int) -> None:
    chance = Random(seed)
    waiting = [a_line(chance, number, PEOPLE) for number in range(900)]
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), some_traits(chance, 14))
        now = START + timedelta(days=12)
        for step in range(4):
            waiting = changed(chance, shop, waiting)
            if step and chance.random() < 0.6:
                # A build that fails half-way; then things change again.
                shop.build(now, select=chance.choice(HALF_BUILT))
                waiting = changed(chance, shop, waiting)
                now += timedelta(hours=chance.choice([0, 1, 30]))
            if step and chance.random() < 0.5:
                name = chance.choice(list(shop.traits))
                shop.declare({**shop.traits, name: a_trait(chance)})
            shop.build(now)
            shop.check(now)
            now += timedelta(hours=chance.choice([1, 24, 24 * 9, 24 * 30]))
        now -= timedelta(hours=1)
        shop.build(now)
        shop.check(now)
        patched = {table: shop.rows(table) for table in TABLES}
        shop.build(now, "--full-refresh")
        assert {table: shop.rows(table) for table in TABLES} == patched


def changed(chance: Random, shop: Shop, waiting: list[str]) -> list[str]:
    """Some messages are landed, whenever they happened, and some go; gives those that still wait."""
    landed = [line for line in waiting if chance.random() < 0.35]
    shop.add(*landed)
    shop.delete(*chance.sample(sorted(shop.lines), 8))
    there = set(landed)
    return [line for line in waiting if line not in there]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def small(tmp_path: Path, empty: World) -> Shop:
    """Three people: of some days ago, of yesterday, and of both, with a trait that reads only events."""
    shop = Shop(tmp_path, {"orders": {"type": "count", "event": "Ordered"}}, like=empty)
    for number, (user, day) in enumerate([("old", 1), ("new", 9), ("both", 1), ("both", 9)]):
        shop.add(ordered(number, user, day))
    return shop


def ordered(number: int, user: str, day: float, **properties: Any) -> str:
    sent = {"type": "track", "messageId": f"m{number}", "userId": user, "event": "Ordered"}
    time = f"{(START + timedelta(days=day)).isoformat()}Z"
    return json.dumps({**sent, "timestamp": time, "properties": {"price": 2, "kind": "a", **properties}})


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def made_anew(shop: Shop, now: datetime) -> set[str]:
    """The user ids whose traits were made as of now."""
    rows = shop.world.ask(
        f"""
        select user_id from int_revetl__event_traits inner join revetl_profiles using (canonical_id)
        where as_of = timestamp '{now}'
        """
    )
    return {row["user_id"] for row in rows}


def read_by(shop: Shop) -> str:
    (row,) = shop.world.ask("select distinct made_by from int_revetl__trait_events")
    return str(row["made_by"])


EVERYBODY = {"old", "new", "both"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        # What was on day 1 leaves on day 11, at the very moment; what was on day 9, on day 19.
        (
            {"t": {"type": "count", "window": {"last": "10 days"}}},
            {10: EVERYBODY, 10.5: set(), 11: {"old", "both"}, 30: {"new", "both"}},
        ),
        # Day 11 is a Monday.
        pytest.param(
            {"t": {"type": "count", "window": {"this": "week"}}},
            {10: EVERYBODY, 10.5: set(), 11: {"new", "both"}},
            marks=pytest.mark.long,
        ),
        # These do not move.
        (
            {
                "ever": {"type": "count", "event": "Ordered"},
                "since": {"type": "days_since", "event": "Ordered"},
                "recent": {"type": "count", "event": "Ordered", "window": {"from": "2026-01-05"}},
                "viewed": {"type": "has_done", "event": "Viewed"},
            },
            {10: EVERYBODY, 30: set()},
        ),
    ],
)
def test_who_is_made_anew_as_of_later(
    small: Shop, traits: dict[str, dict[str, Any]], expected: dict[float, set[str]]
) -> None:
    small.declare(traits)
    for number, people in expected.items():
        small.build(day(number))
        assert made_anew(small, day(number)) == people, number
        small.check(day(number))


@pytest.mark.long
def test_who_has_another_message_is_made_anew(small: Shop) -> None:
    small.build(day(10))
    changes: list[tuple[str, Callable[[], None], set[str]]] = [
        ("a late message", lambda: small.add(ordered(7, "old", 0)), {"old"}),
        ("a deleted one", lambda: small.delete("m7"), {"old"}),
        ("a person of its own", lambda: small.add(ordered(8, "another", 10.5)), {"another"}),
        ("delivered again", lambda: small.add(ordered(8, "another", 10.5)), set()),
        ("all that there was", lambda: small.delete("m8"), set()),
    ]
    for number, (label, change, expected) in enumerate(changes):
        change()
        now = day(11 + number)
        small.build(now)
        assert made_anew(small, now) == expected, label
        small.check(now)
    assert len(small.rows("int_revetl__event_traits")) == 3


@pytest.mark.long
def test_as_of_an_earlier_day(small: Shop) -> None:
    """Windows that have moved on come back: everything is made anew."""
    small.declare({"t": {"type": "count", "window": {"last": "2 days"}}, "since": {"type": "days_since"}})
    for number in (10, 4, 30):
        small.build(day(number))
        small.check(day(number))


@pytest.mark.long
def test_a_trait_that_reads_nothing_new_leaves_what_was_read(small: Shop) -> None:
    first: dict[str, dict[str, Any]] = {
        "spent": {"type": "sum", "event": "Ordered", "property": "price"},
        "kind": {"type": "last", "event": "Viewed", "property": "kind"},
    }
    small.declare(first)
    small.build(day(10))
    before, rows = (
        read_by(small),
        small.world.ask("select * from int_revetl__trait_events order by message_id"),
    )
    more: dict[str, dict[str, Any]] = {
        "most": {"type": "max", "event": "Ordered", "property": "price"},
        "spent_lately": {
            "type": "sum",
            "event": "Ordered",
            "property": "price",
            "window": {"last": "3 days"},
        },
        "kinds": {"type": "unique_list", "event": ["Ordered", "Viewed"], "property": "kind"},
        "ordered": {"type": "has_done", "event": "Ordered", "description": "Ever."},
        "steps": {"type": "funnel", "steps": ["Ordered", "Viewed"]},
        "of_kind_a": {"type": "count", "event": "Ordered", "where": {"property": "kind", "equals": "a"}},
        "doubled": {"type": "count", "event": "Ordered"},
    }
    small.declare({**first, **more})
    small.build(day(10))
    assert read_by(small) == before
    small.check(day(10))
    assert small.world.ask("select * from int_revetl__trait_events order by message_id") == rows


@pytest.mark.long
def test_a_trait_that_reads_something_new_reads_all_anew(small: Shop) -> None:
    small.add(json.dumps({**json.loads(ordered(6, "new", 3)), "event": "Viewed"}))
    small.build(day(10))
    seen = [read_by(small)]
    for more in (
        {"spent": {"type": "sum", "event": "Ordered", "property": "price"}},
        {"kind": {"type": "last", "event": "Ordered", "property": "kind"}},
        {"prices": {"type": "unique_list", "event": "Ordered", "property": "price"}},
        {"viewed": {"type": "has_done", "event": "Viewed"}},
    ):
        small.declare({**small.traits, **more})
        small.build(day(10))
        assert read_by(small) not in seen, more
        seen.append(read_by(small))
        small.check(day(10))


@pytest.mark.long
def test_a_declaration_that_changes(small: Shop) -> None:
    small.add(ordered(5, "new", 2, price=7, kind="b"))
    for declared in (
        {"type": "sum", "event": "Ordered", "property": "price"},
        {
            "type": "sum",
            "event": "Ordered",
            "property": "price",
            "where": {"property": "kind", "equals": "b"},
        },
        {"type": "last", "event": "Ordered", "property": "kind"},
        {"type": "sum", "event": "Ordered", "property": "price", "data_type": "double"},
        {"type": "funnel", "steps": ["Ordered", "Ordered"]},
        {"type": "funnel", "steps": ["Ordered", "Ordered"], "within": "3 days"},
    ):
        small.declare({"t": declared})
        small.build(day(10))
        small.check(day(10))


@pytest.mark.long
def test_a_changed_declaration_whose_build_stops_half_way(small: Shop) -> None:
    small.build(day(10))
    small.declare({"spent": {"type": "sum", "event": "Ordered", "property": "price"}})
    small.build(day(10), select="+int_revetl__trait_events")
    small.add(ordered(4, "another", 5))
    small.delete("m0")
    small.declare({"orders": {"type": "count", "event": "Ordered"}})
    small.build(day(11))
    small.check(day(11))


@pytest.mark.long
def test_a_build_without_traits(small: Shop) -> None:
    small.declare({})
    small.build(day(10))
    assert small.rows("revetl_computed_traits") == []
    small.declare({"orders": {"type": "count", "event": "Ordered"}})
    small.build(day(10))
    small.check(day(10))
