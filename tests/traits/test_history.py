"""The history of traits, which dbt's snapshots keep by the clock of the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager

from tests.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]

PERIODS = "select * from trait_history order by canonical_id, trait, valid_from, valid_to"


def build(world: World, **variables: str) -> str:
    """`dbt build` of the history in New York, and what it says."""
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    command = [sys.executable, "-W", "ignore", "-m", "dbt.cli.main", "--no-use-colors", "build"]
    command += ["--select", "+trait_history", "--exclude", "resource_type:test", "resource_type:unit_test"]
    done = subprocess.run(
        [*command, "--vars", json.dumps(variables), "--project-dir", ".", "--profiles-dir", "."],
        cwd=world.folder,
        env={**os.environ, "TZ": "America/New_York", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def ordered(number: int, user: str) -> str:
    sent = {"type": "track", "messageId": f"m{number}", "userId": user, "event": "Ordered"}
    return json.dumps({**sent, "timestamp": f"2011-01-{number:02}T10:00:00Z"})


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def periods(world: World) -> list[dict[str, Any]]:
    return world.ask(PERIODS)


def test_history_is_in_utc_and_a_build_as_of_before_it_leaves_it_alone(tmp_path: Path) -> None:
    """In New York, where a session's clock is hours behind UTC."""
    world = World(tmp_path)
    world.declare({"orders": {"type": "count", "event": "Ordered", "history": True}}, order_traits={})
    world.load(lines=[ordered(1, "ada"), ordered(2, "bob"), ordered(3, "cyd")])
    began = now()
    build(world)
    assert [began < row["valid_from"] < now() and row["valid_to"] is None for row in periods(world)] == [
        True
    ] * 3

    world.ask("delete from raw.tracks where id = 'm2'")
    world.load(lines=[ordered(4, "ada")])
    changed = now()
    build(world)
    found = periods(world)
    closed = [row for row in found if row["valid_to"] is not None]
    assert len(found) == 4
    assert sorted(row["value"] for row in closed) == ["1", "1"]
    assert [changed < row["valid_to"] < now() and row["valid_from"] < row["valid_to"] for row in closed] == [
        True
    ] * 2

    world.ask("delete from raw.tracks where id = 'm3'")
    said = build(world, as_of="2011-01-02")
    assert "trait_history has periods up to" in said
    assert "this build is as of 2011-01-02 00:00:00: the history stays as it is." in said
    assert periods(world) == found

    build(world)
    assert [row["valid_to"] is None for row in periods(world)].count(True) == 1
    assert len({row["id"] for row in periods(world)}) == len(periods(world)) == 4
