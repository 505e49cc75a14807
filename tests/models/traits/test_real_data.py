"""Every trait of every profile of the shop, and of messages that make a reader stumble, against pandas.

It is built as of one day, and then patched as of a later one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.helpers.built import ROOT
from tests.models.conftest import EXAMPLE
from tests.models.traits.messages import more_messages
from tests.models.traits.reference import as_type, event_trait, messages, moment, with_nothing
from tests.models.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]

SHOP = EXAMPLE / "events.ndjson.gz"
FACTS: dict[str, Any] = json.loads((EXAMPLE / "facts.json").read_text())
ORDER_TRAITS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dbt_project.yml").read_text())["vars"][
    "revetl"
]["order_traits"]
TRAITS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("shop.yml").read_text())
DECLARED = {**ORDER_TRAITS, **TRAITS}
OF_EVENTS = [name for name, declared in DECLARED.items() if declared["type"] not in ("sql", "expression")]
OF_OTHERS = [name for name, declared in DECLARED.items() if declared["type"] == "expression"]
DAYS = ["2011-06-16 13:30:00", "2011-07-01"]
ACCOUNT_TRAITS: dict[str, dict[str, Any]] = {
    "members_spent": {"type": "sum", "of": "account", "event": "Order Completed", "property": "total"},
    "members_views": {
        "type": "count",
        "of": "account",
        "event": "Product Viewed",
        "window": {"last": "30 days"},
    },
}
LETTERS = """
select
    canonical_id,
    canonical_id as person,
    count(*) as sent,
    'hello ' || count(*) as greeting
from {{ ref('revetl', 'revetl_events') }}
where source = 'identify'
group by canonical_id
"""


@cache
def lines() -> list[str]:
    """The shop's lines, and more."""
    shop = gzip.decompress(SHOP.read_bytes()).decode().splitlines()
    known = sorted({json.loads(line)["userId"] for line in shop if '"userId"' in line})[::40]
    people = [{"userId": user} for user in known]
    people += [{"anonymousId": name} for name in ("visitor 1", "visitor 2", "visitor 3")]
    return [*shop, *more_messages(people)]


@cache
def sent(as_of: str) -> pd.DataFrame:
    """The messages, as the reference reads them."""
    return messages(lines(), at(as_of))


def at(as_of: str) -> datetime:
    found = moment(as_of)
    assert found
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("shop"), {"letters": LETTERS})
    made.declare({**TRAITS, **ACCOUNT_TRAITS})
    made.load(SHOP, lines=lines()[len(lines()) - 2_550 :])
    return made


@pytest.fixture(scope="module", params=[DAYS[0], pytest.param(DAYS[1], marks=pytest.mark.long)])
def built(shop: World, request: pytest.FixtureRequest) -> Iterator[tuple[World, str]]:
    """The shop as of a day."""
    shop.build(as_of=request.param)
    yield shop, request.param


def profiles(world: World, table: str = "revetl_profiles") -> dict[str, dict[str, Any]]:
    """Person (user id or anonymous id) to row."""
    rows = world.ask(
        f"""
        select coalesce(people.user_id, people.anonymous_id) as person, shown.*
        from {table} as shown inner join revetl_profiles as people using (canonical_id)
        """
    )
    found = {row["person"]: row for row in rows}
    assert len(found) == len(rows)
    return found


@cache
def everybody(as_of: str) -> set[str]:
    """Who sent any message, whatever its type, up to a day."""
    everything = map(json.loads, lines())
    return {
        one.get("userId") or one["anonymousId"]
        for one in everything
        if (moment(one["timestamp"]) or datetime.max) <= at(as_of)
    }


def as_shown(value: Any, declared: dict[str, Any]) -> Any:
    """A list is text in the table."""
    return json.loads(value) if declared["type"] == "unique_list" and value is not None else value


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fails with what differs, not with all there is. Types count: 1, 1.0 and true are not the same."""
    assert found.keys() == expected.keys()
    wrong = {
        person: (found[person], expected[person])
        for person in found
        if (found[person], type(found[person])) != (expected[person], type(expected[person]))
    }
    assert not wrong, f"{len(wrong)} differ, found and expected: {list(wrong.items())[:5]}"


@pytest.mark.parametrize("name", OF_EVENTS)
def test_a_trait_of_events(built: tuple[World, str], name: str) -> None:
    world, as_of = built
    declared = DECLARED[name]
    found = {person: as_shown(row[name], declared) for person, row in cached(world, as_of).items()}
    theirs = event_trait(sent(as_of), declared, at(as_of))
    same(found, {person: with_nothing(theirs.get(person), declared) for person in everybody(as_of)})


_ROWS: dict[str, dict[str, dict[str, Any]]] = {}


def cached(world: World, as_of: str) -> dict[str, dict[str, Any]]:
    """`profiles`, asked once a build."""
    if as_of not in _ROWS:
        _ROWS[as_of] = profiles(world)
    return _ROWS[as_of]


def refund_share(row: dict[str, Any]) -> Any:
    if not row["lifetime_value"]:
        return None
    return as_type(Fraction(row["refunded_value"]) / Fraction(row["lifetime_value"]), "decimal(18, 3)")


EXPRESSIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "net_lifetime_value": lambda row: row["lifetime_value"] - row["refunded_value"],
    "refund_share": refund_share,
    "kind_of_buyer": lambda row: "regular" if row["movements"] > 5 else "seldom",
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_trait_of_other_traits(built: tuple[World, str], name: str) -> None:
    """The others are as the reference has them: see above."""
    rows = cached(*built)
    found = {person: row[name] for person, row in rows.items()}
    same(found, {person: EXPRESSIONS[name](row) for person, row in rows.items()})


def test_traits_of_a_model(built: tuple[World, str]) -> None:
    world, as_of = built
    letters = [json.loads(line) for line in lines() if '"type":"identify"' in line]
    counts = pd.Series(
        [one["userId"] for one in letters if (moment(one["timestamp"]) or datetime.max) <= at(as_of)]
    ).value_counts()
    rows = cached(world, as_of)
    same(
        {person: row["letters"] for person, row in rows.items()},
        {person: int(counts.get(person, 0)) for person in rows},
    )
    same(
        {person: row["greeting"] for person, row in rows.items()},
        {person: f"hello {counts[person]}" if person in counts else None for person in rows},
    )


def test_who_has_a_row_of_computed_traits(built: tuple[World, str]) -> None:
    """Who has an event that a trait reads, or a row in a trait's model; here all events are read."""
    world, as_of = built
    of_letters = {json.loads(line)["userId"] for line in lines() if '"type":"identify"' in line}
    everything = everybody(as_of)
    expected = set(sent(as_of)["person"]) | (of_letters & everything)
    assert profiles(world, "revetl_computed_traits").keys() == expected


def test_traits_of_accounts(built: tuple[World, str]) -> None:
    world, as_of = built
    groups = [json.loads(line) for line in lines() if '"type": "group"' in line]
    members = {
        (one["groupId"], one.get("userId") or one["anonymousId"])
        for one in groups
        if (moment(one["timestamp"]) or datetime.max) <= at(as_of)
    }
    membership = pd.DataFrame(sorted(members), columns=["account", "member"])
    events = sent(as_of).merge(membership, left_on="person", right_on="member")
    events = events.assign(person=events["account"]).astype(object)
    rows = {row["account_id"]: row for row in world.ask("select * from revetl_account_traits")}
    assert rows.keys() <= set(membership["account"])
    for name, declared in ACCOUNT_TRAITS.items():
        theirs = event_trait(events, declared, at(as_of))
        same(
            {account: row[name] for account, row in rows.items()},
            {account: with_nothing(theirs.get(account), declared) for account in rows},
        )
        assert theirs.keys() <= rows.keys()


def test_the_shops_figures(shop: World) -> None:
    """As of 2011-07-01, of the shop's own events (facts.json)."""
    if not _ROWS.get(DAYS[-1]):
        shop.build(as_of=DAYS[-1])
    rows = cached(shop, DAYS[-1])
    users = {person: row for person, row in rows.items() if row["user_id"] is not None}
    guests = [row for row in rows.values() if row["user_id"] is None]

    def total(of: Any, name: str) -> Decimal:
        return sum((row[name] for row in of), Decimal(0))

    assert FACTS["as_of"] == DAYS[-1]
    assert len(users) == FACTS["known_users"]
    assert total(rows.values(), "order_count") == FACTS["orders"]
    assert total(rows.values(), "refund_count") == FACTS["refunds"]
    assert total(guests, "order_count") == FACTS["anonymous_orders"]
    assert sum(row["order_count"] > 0 for row in users.values()) == FACTS["users_with_an_order"]
    assert float(total(rows.values(), "lifetime_value")) == FACTS["revenue_of_orders"]
    assert float(total(users.values(), "lifetime_value")) == FACTS["revenue_known_users"]
    assert float(total(rows.values(), "refunded_value")) == FACTS["refunded"]
    best = sorted(users.items(), key=lambda one: -one[1]["lifetime_value"])[:10]
    assert {user: float(row["lifetime_value"]) for user, row in best} == FACTS["top10_lifetime_value"]
    ((busiest, most),) = FACTS["orders_per_user_max"].items()
    assert users[busiest]["order_count"] == most == max(row["order_count"] for row in users.values())
    lapsed = sorted(
        user
        for user, row in users.items()
        if row["order_count"] >= 2 and (at(DAYS[-1]) - row["last_order_at"]).total_seconds() > 60 * 86_400
    )
    assert len(lapsed) == FACTS["lapsed_repeat_buyers_60d"]["count"]
    assert lapsed[:10] == FACTS["lapsed_repeat_buyers_60d"]["first10"]
    assert sum(row["lifetime_value"] > 5_000 for row in users.values()) == FACTS["big_spenders"]["count"]
