"""SQL and JSON Schema agree on any message and any plan."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings

from revetl.governance.tracking_plan import Checker, TrackingPlan
from revetl.governance.tracking_plan.plan import DOCUMENTS
from tests.governance.examples import PLAN, VALID, order, plan_of
from tests.governance.rendering import Renderer
from tests.governance.test_patterns import READ, TEXTS
from tests.governance.world import (
    Message,
    asked,
    broken,
    rows_of,
    staged,
    violations_in,
    without_omitted,
    worlds,
)

pytestmark = pytest.mark.slow
World = tuple[TrackingPlan, list[Message]]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect()
    opened.execute("set threads = 1; set enable_progress_bar = false")
    return opened


@settings(max_examples=150)
@given(world=worlds())
def test_sql_and_schema_agree(
    renderer: Renderer, connection: duckdb.DuckDBPyConnection, world: World
) -> None:
    plan, some = world
    query = renderer.violations(plan, "select * from landed")
    assert asked(connection, query, some) == violations_in(Checker(plan), some)


@settings(max_examples=100)
@given(world=worlds())
def test_only_omitted_properties_are_removed(
    renderer: Renderer, connection: duckdb.DuckDBPyConnection, world: World
) -> None:
    plan, some = world
    query = renderer.without_omitted(plan, "select * from landed")
    wanted = {each["messageId"]: without_omitted(plan, each) for each in some}
    assert staged(connection, query, some) == wanted


def test_an_order_with_exactly_four_violations(
    renderer: Renderer, connection: duckdb.DuckDBPyConnection
) -> None:
    wrong = {"total": -1, "currency": "CHF", "products": [{"sku": "s1"}, {"sku": 7}]}
    some = [order(VALID), order(wrong, messageId="m2")]
    query = renderer.violations(plan_of(PLAN), "select * from landed")
    found = asked(connection, query, some)
    assert {(each[0], each[3], each[4]) for each in found} == {
        ("m2", "currency", "enum"),
        ("m2", "order_id", "required"),
        ("m2", "products[1].sku", "type"),
        ("m2", "total", "minimum"),
    }


def test_patterns_and_enums_of_any_text(renderer: Renderer, connection: duckdb.DuckDBPyConnection) -> None:
    """With the escapes that JSON has for some of their characters."""
    properties: list[dict[str, Any]] = [
        {"name": f"p{place}", "pattern": pattern} for place, pattern in enumerate(READ)
    ]
    properties += [
        {"name": f"e{place}", "enum": [text]} for place, text in enumerate(TEXTS) if text.isprintable()
    ]
    plan = TrackingPlan.model_validate({"events": [{"name": "Order Completed", "properties": properties}]})
    names = [each["name"] for each in properties]
    some = [order(dict.fromkeys(names, text), messageId=f"m{place}") for place, text in enumerate(TEXTS)]
    query = renderer.violations(plan, "select * from landed")
    assert asked(connection, query, some) == violations_in(Checker(plan), some)


def test_every_number_is_checked_and_none_fails_the_build(
    renderer: Renderer, connection: duckdb.DuckDBPyConnection
) -> None:
    plan = plan_of(
        """
        events:
          - name: Order Completed
            properties:
              - {name: a, type: integer, minimum: -1, maximum: 1}
              - {name: b, type: string, pattern: x}
        """
    )
    query = renderer.violations(plan, "select * from landed")
    asked(connection, query, [])
    texts = ["1e400", "-1e400", "1e-400", "1" * 400, "0.1e1", "-0.0", "1E0", '"1"', "1.0000000000000000001"]
    rows = [(f"m{place}", f'  {{"a": {text}, "b": "\\u0078"}}') for place, text in enumerate(texts)]
    connection.executemany(
        "insert into landed (message_type, message_id, event, content) "
        "values ('track', $1, 'Order Completed', $2::varchar)",
        rows,
    )
    found = {(row[0], row[3], row[4]) for row in connection.execute(query).fetchall()}
    assert {(name, path, rule) for name, path, rule in found if name in ("m4", "m5", "m6", "m8")} == set()
    assert ("m7", "a", "type") in found and ("m7", "a", "maximum") not in found
    assert ("m3", "a", "maximum") in found


def test_a_violation_is_shown_as_python_shows_it(
    renderer: Renderer, connection: duckdb.DuckDBPyConnection
) -> None:
    plan = plan_of("events: [{name: Order Completed, properties: [{name: a, type: boolean}]}]")
    values = ["é", "a" * 300, 'say "x"\n\\', None, 7, -1.5, [1], {"b": 2}]
    some = [order({"a": value}, messageId=f"m{place}") for place, value in enumerate(values)]
    query = renderer.violations(plan, "select * from landed")
    asked(connection, query, some)
    shown = {row[0]: row[6] for row in connection.execute(query).fetchall()}
    assert shown == {each.message_id: each.found for one in some for each in Checker(plan).check(one)}
    assert broken(Checker(plan).check(some[0])[0]) in asked(connection, query, some)
    assert len(rows_of(some)) == len(values)


BLOCKS: dict[str, tuple[str, set[str]]] = {
    "nothing": ("events: [{name: A}]", set()),
    "violations": ("events: [{name: A}, {name: B, on_violation: block}]", {"track"}),
    "unplanned events": ("unplanned_events: block", {"track"}),
    "unplanned properties": ("{identify: {}, page: {}, unplanned_properties: block}", {"identify", "page"}),
    "flagged": ("{identify: {on_violation: block}, group: {}, unplanned_events: flag}", {"identify"}),
}


@pytest.mark.parametrize(("text", "blocked"), BLOCKS.values(), ids=BLOCKS.keys())
def test_what_a_plan_may_block(renderer: Renderer, text: str, blocked: set[str]) -> None:
    assert {kind for kind in DOCUMENTS if renderer.blocks(plan_of(text), kind)} == blocked
