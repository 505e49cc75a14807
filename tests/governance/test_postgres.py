"""PostgreSQL agrees with JSON Schema, and matches patterns as intended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from revetl.governance.tracking_plan import Checker, TrackingPlan
from revetl.governance.tracking_plan.check import Violation
from revetl.governance.tracking_plan.patterns import in_python, portable
from tests.governance.rendering import Renderer
from tests.governance.test_patterns import READ, TEXTS
from tests.governance.world import (
    Message,
    broken,
    documents_of,
    rows_of,
    violations_in,
    without_omitted,
    worlds,
)

pytestmark = pytest.mark.slow


def land(cursor: Any, some: list[Message]) -> None:
    """Have messages in `landed`, and no others."""
    cursor.execute("drop table if exists landed")
    cursor.execute(
        "create table landed (message_type text, message_id text, event text, content jsonb, "
        "timestamp timestamp, received_at timestamp, uuid_ts timestamp, source_id text)"
    )
    marks = (
        "$1, $2, $3, cast($4 as jsonb), cast($5 as timestamp), cast($6 as timestamp), "
        "cast($7 as timestamp), $8"
    )
    cursor.executemany(f"insert into landed values ({marks})", rows_of(some))


@settings(max_examples=60)
@given(world=worlds())
def test_sql_and_schema_agree(
    postgres: Renderer, cursor: Any, world: tuple[TrackingPlan, list[Message]]
) -> None:
    plan, some = world
    land(cursor, some)
    cursor.execute(postgres.violations(plan, "select * from landed"))
    found = [broken(Violation(row[0], row[1], *row[2:8])) for row in cursor.fetchall()]
    assert len(set(found)) == len(found)
    assert set(found) == violations_in(Checker(plan), some)


@pytest.mark.long
@settings(max_examples=60)
@given(world=worlds())
def test_only_omitted_properties_are_removed(
    postgres: Renderer, cursor: Any, world: tuple[TrackingPlan, list[Message]]
) -> None:
    plan, some = world
    land(cursor, some)
    cursor.execute(postgres.without_omitted(plan, "select * from landed"))
    wanted = {each["messageId"]: without_omitted(plan, each) for each in some}
    assert documents_of(cursor.fetchall()) == wanted


@pytest.mark.parametrize("pattern", READ)
def test_a_pattern_matches_as_in_python(cursor: Any, pattern: str) -> None:
    wanted = in_python(pattern)
    found = {}
    for text in TEXTS:
        cursor.execute("select cast($1 as text) ~ cast($2 as text)", (text, portable(pattern)))
        ((found[text],),) = cursor.fetchall()
    assert found == {text: bool(wanted.search(text)) for text in TEXTS}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "1" * 400])
def test_no_number_stops_a_build(postgres: Renderer, cursor: Any, number: str) -> None:
    plan = TrackingPlan.model_validate(
        {"events": [{"name": "A", "properties": [{"name": "a", "type": "integer", "maximum": 1}]}]}
    )
    cursor.execute("drop table if exists landed")
    cursor.execute(
        "create table landed as select cast('track' as text) as message_type, cast('m' as text) as message_id"
        f", cast('A' as text) as event, cast('{{\"a\": {number}}}' as jsonb) as content, "
        "current_timestamp as timestamp, current_timestamp as received_at, current_timestamp as uuid_ts, "
        "cast(null as text) as source_id"
    )
    cursor.execute(postgres.violations(plan, "select * from landed"))
    cursor.fetchall()
