"""The history of traits, which dbt's snapshots keep by the clock of the session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.helpers.built import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.long]

KEPT = """
select canonical_id, 'orders' as trait, cast(orders as varchar) as value, {{ revetl.as_of() }} as seen_at
from kept_people
"""


class History:
    """A project of the snapshot and nothing else, over traits that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "history.duckdb"
        for part in ("macros", "snapshots"):
            shutil.copytree(ROOT / part, folder / part)
        (folder / "models").mkdir()
        (folder / "models" / "int_revetl__kept_traits.sql").write_text(
            "{{ config(materialized='view') }}" + KEPT
        )
        output = {"type": "duckdb", "path": str(self.database)}
        profiles = {"history": {"target": "t", "outputs": {"t": output}}}
        (folder / "profiles.yml").write_text(json.dumps(profiles))
        orders = {"type": "count", "event": "Ordered", "history": True}
        variables = {"traits": {"orders": orders}, "profile_traits": []}
        project = {"name": "revetl", "profile": "history", "vars": variables}
        (folder / "dbt_project.yml").write_text(json.dumps(project))

    def ask(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with duckdb.connect(str(self.database)) as connection:
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def build(self, people: dict[str, int], **variables: str) -> str:
        """`dbt build` in New York, and what it says."""
        self.ask("create or replace table kept_people (canonical_id varchar, orders int)")
        for person, orders in people.items():
            self.ask(f"insert into kept_people values ('{person}', {orders})")
        command = [sys.executable, "-W", "ignore", "-m", "dbt.cli.main", "--no-use-colors", "build"]
        done = subprocess.run(
            [*command, "--vars", json.dumps(variables), "--project-dir", ".", "--profiles-dir", "."],
            cwd=self.folder,
            env={**os.environ, "TZ": "America/New_York", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def periods(self) -> list[dict[str, Any]]:
        """All of them."""
        return self.ask("select * from revetl_trait_history order by canonical_id, valid_from")


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def test_history_is_in_utc_and_a_build_as_of_before_it_leaves_it_alone(tmp_path: Path) -> None:
    """In New York, where a session's clock is hours behind UTC."""
    history = History(tmp_path)
    began = now()
    history.build({"ada": 1, "bob": 1, "cyd": 1})
    first = history.periods()
    assert [began < row["valid_from"] < now() and row["valid_to"] is None for row in first] == [True] * 3

    changed = now()
    history.build({"ada": 2, "cyd": 1})
    found = history.periods()
    closed = [row for row in found if row["valid_to"] is not None]
    assert [(row["canonical_id"], row["value"]) for row in closed] == [("ada", "1"), ("bob", "1")]
    assert [row["valid_from"] < changed < row["valid_to"] < now() for row in closed] == [True, True]
    assert len(found) == 4

    said = history.build({"ada": 9}, as_of="2011-01-02")
    assert "revetl_trait_history has periods up to" in said
    assert "this build is as of 2011-01-02 00:00:00: the history stays as it is." in said
    assert history.periods() == found

    history.build({"ada": 9})
    last = history.periods()
    assert [(row["canonical_id"], row["value"]) for row in last if row["valid_to"] is None] == [("ada", "9")]
    assert len({row["id"] for row in last}) == len(last) == 5
    assert all(row["valid_to"] is None or row["valid_from"] < row["valid_to"] for row in last)
