"""One person's outlier, and a clock that is ahead, in a build with everybody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]

TRAITS = {
    "spent": {"type": "sum", "event": "Ordered", "property": "total", "data_type": "decimal(18, 2)"},
    "twice": {
        "type": "expression",
        "sql": "coalesce(spent, 0) * 2",
        "data_type": "decimal(18, 2)",
        "default": 0,
    },
    "grade": {
        "type": "max",
        "event": "Ordered",
        "property": "grade",
        "data_type": "decimal(5,2)",
        "default": 1,
    },
    "note": {"type": "last", "event": "Ordered", "property": "note", "data_type": "json"},
    "quiet": {"type": "days_since", "event": "Ordered"},
    "lately": {"type": "count", "event": "Ordered", "window": {"last": "30 days"}},
}


def ordered(number: int, user: str, at: str = "2011-06-01T10:00:00Z", **properties: Any) -> str:
    sent = {"type": "track", "messageId": f"m{number}", "userId": user, "event": "Ordered"}
    return json.dumps(
        {**sent, "timestamp": at, "receivedAt": "2011-06-01T10:00:01Z", "properties": properties}
    )


def people(world: World) -> dict[str, dict[str, Any]]:
    names = ", ".join(f"p.{name}" for name in TRAITS)
    rows = world.ask(
        f"select p.user_id, {names}, c.unfit_traits from revetl_profiles as p "
        "left join revetl_computed_traits as c on p.canonical_id = c.canonical_id"
    )
    return {row.pop("user_id"): row for row in rows}


def test_one_outlier_is_null_for_one_person_and_the_build_warns_of_it(tmp_path: Path) -> None:
    """Who has 200 orders of 99,999,999,999,999 has no sum; everybody else has theirs."""
    world = World(tmp_path)
    world.declare(TRAITS, order_traits={})
    lines = [ordered(number, "rich", total=99_999_999_999_999) for number in range(200)]
    lines += [ordered(300, "ada", total=5, grade=99.5, note=[1]), ordered(301, "bob", grade=100_000)]
    lines += [ordered(302, "cyd", note="hello {"), ordered(303, "ahead", "2087-01-01T00:00:00Z")]
    lines += [ordered(304, "hours", "2011-06-01T15:00:00Z"), ordered(305, "minutes", "2011-06-01T10:30:00Z")]
    lines += [ordered(306, "dee", note="[1,]"), ordered(307, "eve", note='{"a": inf}')]
    lines += [ordered(308, "fay", note='["inf, ]"]')]
    world.load(lines=lines)
    world.build(as_of="2011-06-11 12:00:00")
    nothing = {
        "spent": 0,
        "twice": 0,
        "grade": 1,
        "note": None,
        "quiet": 10,
        "lately": 1,
        "unfit_traits": None,
    }
    expected = {
        "rich": {**nothing, "spent": None, "twice": None, "lately": 200, "unfit_traits": "spent,twice"},
        "ada": {**nothing, "spent": 5, "twice": 10, "grade": 99.5, "note": "[1]"},
        "bob": {**nothing, "grade": None, "unfit_traits": "grade"},
        "cyd": {**nothing, "unfit_traits": "note"},
        "dee": {**nothing, "unfit_traits": "note"},
        "eve": {**nothing, "unfit_traits": "note"},
        "fay": {**nothing, "note": '["inf, ]"]'},
        "ahead": nothing,
        "hours": nothing,
        "minutes": nothing,
    }
    assert people(world) == expected
    ahead = world.ask("select user_id from stg_revetl__tracks where is_clock_ahead order by 1")
    assert [row["user_id"] for row in ahead] == ["ahead", "hours"]
    done, said = world.run("test", "--select", "nothing_in_revetl_computed_traits_unfit_traits")
    assert done and "WARN 5" in said, said[-2000:]

    # A build of what has changed since.
    world.ask("delete from raw.tracks where user_id = 'rich' and id <> 'm7'")
    world.build(as_of="2011-06-11 12:00:00")
    assert people(world) == {
        **expected,
        "rich": {**nothing, "spent": 99_999_999_999_999, "twice": 199_999_999_999_998},
    }
