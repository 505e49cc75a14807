"""dbt, really run: a database with the example events, built as of the end of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from revetl.project.scaffolding import make_project
from tests.helpers.built import ROOT, SCHEMAS, connect, in_fixed_schemas

EXAMPLE = ROOT / "examples" / "online_retail"

Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


def run_dbt(
    database: Path, *arguments: str, project: Path = ROOT, exit_code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run dbt on a database of its own, beside which its target folder is."""
    environment = {
        **os.environ,
        "REVETL_DUCKDB_PATH": str(database),
        "DBT_TARGET_PATH": str(database.parent / "target"),
        "DBT_LOG_PATH": str(database.parent / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
    }
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "dbt.cli.main", "--no-use-colors"]
    if project == ROOT:
        arguments = in_fixed_schemas(arguments)
    done = subprocess.run(
        [*command, *arguments, "--project-dir", str(project), "--profiles-dir", str(project)],
        env=environment,
        cwd=database.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout[-4000:] + done.stderr[-2000:]
    return done


def load_example(database: Path, project: Path = ROOT) -> None:
    """Land the example events with `revetl load`."""
    environment = {**os.environ, "REVETL_DUCKDB_PATH": str(database)}
    subprocess.run(
        [
            *(sys.executable, "-m", "revetl", "load", "-q", str(EXAMPLE / "events.ndjson.gz")),
            *("--vars", json.dumps(SCHEMAS)),
        ],
        env=environment,
        cwd=project,
        check=True,
    )


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a new project with the example events, as of 2011-07-01."""
    project = tmp_path_factory.mktemp("new") / "shop"
    make_project(project)
    database = project / "shop.duckdb"
    load_example(database, project)
    run_dbt(database, "deps", project=project)
    done = run_dbt(database, "build", "--vars", "{as_of: 2011-07-01, package_tests: true}", project=project)
    assert "WARN=0 ERROR=0 SKIP=0" in done.stdout
    assert "deprecat" not in done.stdout.lower()
    return database


@pytest.fixture
def query(shop: Path) -> Callable[[str], list[tuple[object, ...]]]:
    """Ask the shop's database."""

    def ask(statement: str) -> list[tuple[object, ...]]:
        with connect(shop, read_only=True) as connection:
            return connection.execute(statement).fetchall()

    return ask
