"""The models against figures that were computed from the invoices by another route (facts.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.models.conftest import EXAMPLE

pytestmark = pytest.mark.slow

FACTS: dict[str, Any] = json.loads((EXAMPLE / "facts.json").read_text())
Ask = Callable[[str], list[tuple[Any, ...]]]

COMPLETED = "from stg_revetl__tracks where event_text = 'Order Completed'"
FIGURES = {
    "track messages": ("select count(*) from stg_revetl__tracks", FACTS["messages"]["track"]),
    "identify messages": ("select count(*) from stg_revetl__identifies", FACTS["messages"]["identify"]),
    "anonymous messages": (
        "select count(*) from stg_revetl__tracks where user_id is null",
        FACTS["messages"]["anonymous"],
    ),
    "orders": (f"select count(*) {COMPLETED}", FACTS["orders"]),
    "orders of all profiles": ("select sum(order_count) from revetl_profiles", FACTS["orders"]),
    "refunds": ("select sum(refund_count) from revetl_profiles", FACTS["refunds"]),
    "anonymous orders": (
        "select sum(order_count) from revetl_profiles where user_id is null",
        FACTS["anonymous_orders"],
    ),
    "known users": ("select count(*) from revetl_profiles where user_id is not null", FACTS["known_users"]),
    "users with an order": (
        "select count(*) from revetl_profiles where user_id is not null and order_count > 0",
        FACTS["users_with_an_order"],
    ),
    "revenue of orders": (
        "select sum(lifetime_value)::double from revetl_profiles",
        FACTS["revenue_of_orders"],
    ),
    "revenue of known users": (
        "select sum(lifetime_value)::double from revetl_profiles where user_id is not null",
        FACTS["revenue_known_users"],
    ),
    "refunded": ("select sum(refunded_value)::double from revetl_profiles", FACTS["refunded"]),
    "order lines": (
        f"select sum(json_array_length(properties -> '$.products')) {COMPLETED}",
        FACTS["order_lines"],
    ),
    "lapsed repeat buyers": (
        "select count(*) from lapsed_repeat_buyers",
        FACTS["lapsed_repeat_buyers_60d"]["count"],
    ),
    "big spenders": ("select count(*) from big_spenders", FACTS["big_spenders"]["count"]),
}


@pytest.mark.parametrize(("statement", "expected"), FIGURES.values(), ids=FIGURES.keys())
def test_figure(query: Ask, statement: str, expected: float) -> None:
    assert query(statement) == [(expected,)]


def test_top_ten_lifetime_values(query: Ask) -> None:
    known = "from revetl_profiles where user_id is not null"
    top = query(f"select user_id, lifetime_value::double {known} order by 2 desc limit 10")
    assert top == list(FACTS["top10_lifetime_value"].items())


def test_most_orders_of_a_user(query: Ask) -> None:
    most = query(
        "select user_id, order_count from revetl_profiles where user_id is not null order by 2 desc limit 1"
    )
    assert most == list(FACTS["orders_per_user_max"].items())


def test_first_lapsed_repeat_buyers(query: Ask) -> None:
    first = query("select user_id from lapsed_repeat_buyers order by 1 limit 10")
    assert [user_id for (user_id,) in first] == FACTS["lapsed_repeat_buyers_60d"]["first10"]


def test_sample_events_do_not_mix_with_landed_ones(query: Ask) -> None:
    sample = query("select count(*) from revetl_sample_tracks")
    assert sample[0][0] > 0
    assert query(
        "select count(*) from stg_revetl__tracks where message_id not in (select id from raw.tracks)"
    ) == [(0,)]
