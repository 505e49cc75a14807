"""The models over what syncs keep, the tests that users put on audiences, and the tables' own upkeep."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.helpers.built import ROOT, copy_package
from tests.models.conftest import run_dbt
from tests.models.kept import MODELS, TESTS, Row, ago, properties, rows

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shop:
    """A scratch copy of the project, and its database."""

    project: Path
    database: Path

    def dbt(self, *arguments: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
        """Run dbt; gives its results by the node's name, without hooks."""
        run_dbt(self.database, *arguments, project=self.project, exit_code=exit_code)
        text = (self.database.parent / "target" / "run_results.json").read_text()
        named = [(result["unique_id"].split("."), result) for result in json.loads(text)["results"]]
        return {name[2]: result for name, result in named if name[0] != "operation"}

    def ask(self, statement: str) -> list[Row]:
        """Rows of a query."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(statement).fetchall()


@dataclass(frozen=True)
class First:
    """The first build's results, and what was in the state after it."""

    results: dict[str, dict[str, Any]]
    state: list[Row]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The project with three audiences more, and a state table of an older version. The database is named as
    the schema of the state is: then DuckDB cannot tell one from the other unless it is told."""
    folder = tmp_path_factory.mktemp("delivery")
    made = Shop(folder / "project", folder / "revetl.duckdb")
    audiences = copy_package(made.project)
    shutil.copy(ROOT / "profiles.yml", made.project)
    for name, text in MODELS.items():
        (audiences / f"{name}.sql").write_text(text)
    (audiences / "_tested.yml").write_text(yaml.safe_dump(properties()))
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("create schema revetl.revetl")
        connection.execute(
            "create table revetl.revetl.sync_state (sync varchar, key varchar, row_hash bigint)"
        )
        connection.execute("insert into revetl.revetl.sync_state values ('aged.crm', 'k1', 7)")
        connection.execute("create table main.typed_in_by_hand as select 'p1' as user_id")
    return made


@pytest.fixture(scope="module")
def first(shop: Shop) -> First:
    """The first build, before any sync but for the row of an older version."""
    results = shop.dbt("run", "--select", "marts.delivery", *MODELS)
    return First(
        results, shop.ask("select sync, key, row_hash, pending_run_id from revetl.revetl.sync_state")
    )


@pytest.fixture(scope="module")
def filled(shop: Shop, first: First) -> Shop:
    """The shop, with what syncs kept since it was built."""
    with duckdb.connect(str(shop.database)) as connection:
        connection.execute("delete from revetl.revetl.sync_state")
        for table, row in rows():
            places = ", ".join("?" for _ in row)
            connection.execute(
                f"insert into revetl.revetl.{table} ({', '.join(row)}) values ({places})", list(row.values())
            )
    return shop


@pytest.fixture(scope="module")
def tested(filled: Shop) -> dict[str, dict[str, Any]]:
    """A build with all tests, of the delivery models too; what they complain of is stored."""
    chosen = ["--select", "marts.delivery", "buyers", "--exclude", "misspelt"]
    return filled.dbt("build", "--store-failures", *chosen, "--vars", "package_tests: true")


def test_an_older_table_gains_columns_and_keeps_its_rows(shop: Shop, first: First) -> None:
    assert first.state == [("aged.crm", "k1", 7, None)]
    names = (
        "select column_name from duckdb_columns() where schema_name = 'revetl' and table_name = 'sync_state'"
    )
    (source,) = yaml.safe_load((ROOT / "models" / "marts" / "delivery" / "_sources.yml").read_text())[
        "sources"
    ]
    declared = {table["name"]: {column["name"] for column in table["columns"]} for table in source["tables"]}
    assert {name for (name,) in shop.ask(names)} == declared["sync_state"]
    made = shop.ask("select table_name from duckdb_tables() where schema_name = 'revetl'")
    assert {name for (name,) in made} == declared.keys()


def test_models_show_what_was_kept_after_they_were_built(filled: Shop) -> None:
    crm = "where sync = 'buyers.crm'"
    asked = {
        "runs": """
            select run_id, operation, status, duration_seconds::int, planned, attempted, delivered, rejected,
                unknown, aborted
            from revetl_delivery_runs
            where planned > attempted or operation = 'add' and destination = 'crm'
            order by run_id
        """,
        "members": f"""
            select audience, destination, key, acknowledged_at from revetl_delivered_members {crm}
            order by key
        """,
        "uncertain": "select sync, key from revetl_delivered_members where is_uncertain",
        "reasons": f"""
            select operation, field, reason, record_count, attempt_count from revetl_rejection_reasons {crm}
        """,
        "sizes": f"""
            select run_id, held_rows_before, added_rows, removed_rows, other_rows, held_rows_after
            from revetl_audience_sizes {crm} order by started_at
        """,
        "lag": """
            select sync, key, run_id, is_open, suppressed_at, removed_at,
                case when is_open then null else lag_seconds::int end, lag_seconds between 3600 and 10000
            from revetl_privacy_lag order by sync
        """,
    }
    assert {name: filled.ask(statement) for name, statement in asked.items()} == {
        "runs": [
            ("ads 3", "add", "refused", 60, 6, 4, 3, 0, 1, 2),
            ("crm 0", "add", "rejected", 60, 10, 10, 9, 1, 0, 0),
            ("crm 1", "add", "success", 60, 0, 0, 0, 0, 0, 0),
        ],
        "members": [("buyers", "crm", key, ago(1)) for key in ("u1", "u2", "u6")],
        "uncertain": [("buyers.ads", "u9")],
        "reasons": [("add", None, "no such mailbox", 1, 2)],
        "sizes": [("crm 0", 0, 9, 0, -6, 3), ("crm 1", 3, 0, 0, 0, 3)],
        "lag": [
            ("buyers.crm", "u5", "crm 1", False, ago(2), ago(1), 3600, True),
            ("buyers.old", "x1", None, True, ago(2), None, None, True),
        ],
    }


@pytest.mark.parametrize("name", TESTS)
def test_what_a_test_on_an_audience_complains_of(
    filled: Shop, tested: dict[str, dict[str, Any]], name: str
) -> None:
    expected = TESTS[name][2]
    assert (tested[name]["status"], tested[name]["failures"]) == (
        "warn" if expected else "pass",
        len(expected),
    )
    assert sorted(filled.ask(f"from main_dbt_test__audit.{name}"), key=str) == sorted(expected, key=str)


def test_the_models_own_tests_hold(tested: dict[str, dict[str, Any]]) -> None:
    own = {name: result["status"] for name, result in tested.items() if name not in TESTS}
    assert {name for name, status in own.items() if status not in ("pass", "success")} == {
        "relationships_revetl_delivered_members_run_id__run_id__ref_revetl_revetl_delivery_runs_"
    }


@pytest.fixture(scope="module")
def failed(tested: dict[str, dict[str, Any]], filled: Shop) -> dict[str, dict[str, Any]]:
    """A build in which warnings are errors, one audience cannot be built, and another is made of that."""
    assert tested["buyers"]["status"] == "success"
    with duckdb.connect(str(filled.database)) as connection:
        connection.execute("drop table main.typed_in_by_hand")
    return filled.dbt(
        "--warn-error", "build", "--select", "tag:delivery", "prospects", "followers", exit_code=1
    )


def test_a_pipeline_can_fail_on_them(failed: dict[str, dict[str, Any]]) -> None:
    said = {name: failed[name]["status"] for name in TESTS}
    assert said == {name: "fail" if expected else "pass" for name, (_, _, expected) in TESTS.items()}


def test_a_destination_that_is_not_there_is_named(failed: dict[str, dict[str, Any]]) -> None:
    assert failed["misspelt"]["status"] == "error"
    assert (
        "buyers: the test says to: cmr, and there is no sync of it to that. "
        "There is: crm, ads, quiet, picky, list, few, fewer."
    ) in failed["misspelt"]["message"]


def test_builds_are_recorded(shop: Shop, first: First, failed: dict[str, dict[str, Any]]) -> None:
    """Each as it ended, and a skipped audience was not built."""
    assert failed["followers"]["status"] == "skipped"
    builds = shop.ask("select unique_id, status, completed_at, invocation_id from revetl.revetl.model_builds")
    recorded = {unique_id: rest for unique_id, *rest in builds}
    buyers, prospects, followers = (recorded[f"model.revetl.{name}"] for name in MODELS)
    assert (buyers[0], prospects[0], followers[0]) == ("success", "error", "success")
    ended = first.results["followers"]["timing"][-1]["completed_at"]
    assert followers[1] == datetime.fromisoformat(ended).replace(tzinfo=None)
    assert followers[1] < buyers[1] < prospects[1]
    assert len({buyers[2], prospects[2], followers[2]}) == 3
    kept = set(shop.ask("select audience, invocation_id from revetl.revetl.audience_builds"))
    assert {("buyers", buyers[2]), ("followers", followers[2])} <= kept
    assert ("prospects", prospects[2]) not in kept
