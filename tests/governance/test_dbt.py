"""dbt builds with the project's own plan, and finds the same violations in events as Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from revetl.governance.tracking_plan import Checker, CompiledPlan, Violation
from revetl.project.scaffolding import make_project
from tests.governance.world import broken, violations_in
from tests.models.conftest import run_dbt

pytestmark = pytest.mark.slow

PLAN = """
events:
  - name: Order Completed
    on_violation: block
    unplanned_properties: flag
    properties:
      - {name: order_id, type: string, required: true, pattern: '^[0-9]+$'}
      - {name: total, type: number, required: true, minimum: 0, maximum: 1000}
      - {name: currency, type: string, enum: [USD, EUR]}
      - name: products
        type: array
        items:
          type: object
          properties:
            - {name: product_id, type: string, required: true, pattern: '^[0-9]{5}$'}
            - {name: price, type: number, minimum: 1}
            - {name: weight, type: number, required: true}
identify:
  unplanned_properties: omit
  traits:
    - {name: email, type: string, pattern: '@example'}
    - {name: name, type: string, required: true}
unplanned_events: flag
"""


SAMPLES = [
    f"{part}_sample_{type_}"
    for part in ("revetl", "int_revetl_")
    for type_ in ("tracks", "identifies", "pages", "groups")
]
STAGED = "select message_id from stg_revetl__tracks"


def asked(database: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.long
def test_the_projects_plan_stands_in_the_place_of_the_packages(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    make_project(shop)
    (shop / "tracking_plan.yaml").write_text(PLAN)
    compiled = CompiledPlan(shop)
    database = shop / "shop.duckdb"
    run_dbt(database, "deps", project=shop)
    built = [
        "build",
        "--select",
        *SAMPLES,
        "revetl_event_quality",
        "revetl_tracking_plan_violations",
        "stg_revetl__tracks",
        "stg_revetl__identifies",
    ]
    run_dbt(database, *built, project=shop)
    counts = """
        select
            (select count(*) from revetl_tracking_plan_violations),
            (select count(*) from revetl_event_quality)
    """
    assert asked(database, counts) == [(0, 0)]
    everything = asked(database, STAGED)
    compiled.write()
    run_dbt(database, *built, project=shop)
    messages = [
        {"type": "track", "messageId": name, "event": event, "properties": json.loads(properties)}
        for name, event, properties in asked(
            database, "select id, event_text, properties from revetl_sample_tracks"
        )
    ]
    messages += [
        {"type": "identify", "messageId": name, "traits": json.loads(traits)}
        for name, traits in asked(database, "select id, traits from revetl_sample_identifies")
    ]
    messages += [
        {"type": kind, "messageId": name}
        for kind in ("page", "group")
        for (name,) in asked(database, f"select id from revetl_sample_{kind}s")
    ]
    rows = asked(database, "select * from revetl_tracking_plan_violations")
    found = {broken(Violation(row[0], row[1], *row[2:8])) for row in rows}
    assert found == violations_in(Checker(compiled.plan), messages)
    assert len(found) == len(rows) > 1000
    sums = "select sum(message_count), sum(violation_count), sum(blocked_message_count) "
    blocked = {row[:2] for row in rows if row[7] == "block"}
    assert asked(database, f"{sums} from revetl_event_quality") == [(len(messages), len(rows), len(blocked))]
    assert {row[4] for row in rows} >= {"required", "enum", "pattern", "minimum", "unplanned_property"}
    blocked = {
        (message_id,)
        for message_id, _, _, _, _, _, _, action in (row[:8] for row in rows)
        if action == "block"
    }
    assert 0 < len(blocked) < len(everything)
    assert set(asked(database, STAGED)) == set(everything) - blocked

    countries = "select count(*), count(traits ->> 'email'), count(traits ->> 'country') from "
    people = asked(database, countries + "revetl_sample_identifies")
    assert people[0][2] > 0
    assert asked(database, countries + "stg_revetl__identifies") == [(*people[0][:2], 0)]

    # Mended, they are let in.
    (shop / "tracking_plan.yaml").write_text(PLAN.replace("on_violation: block", "on_violation: flag"))
    CompiledPlan(shop).write()
    run_dbt(database, *built, project=shop)
    assert set(asked(database, STAGED)) == set(everything)
