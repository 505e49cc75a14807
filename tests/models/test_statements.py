"""How much a build sends to the warehouse: nodes and statements, counted in dbt's own log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.built import ROOT

NODES = 160
STATEMENTS = {"idle": 150, "small": 250}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("target", ["duckdb", "postgres"])
def test_a_new_project_has_few_nodes_and_its_builds_send_few_statements(target: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "builds.py"),
        "--json",
        "--no-fixed",
        "--target",
        target,
    ]
    done = subprocess.run(
        [*command, "--events", "2000", "--small", "400"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, idle, small = (json.loads(line) for line in done.stdout.splitlines())
    assert first["nodes"] <= NODES
    assert [build for build in (idle, small) if build["statements"] > STATEMENTS[build["build"]]] == []
    # The idle build had nothing to do, and the small one had.
    assert 0 < idle["statements"] < small["statements"]
