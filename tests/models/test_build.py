"""`dbt build` where there is nothing yet, and where seeds are run again."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import pytest

from tests.helpers.built import ROOT
from tests.models.conftest import load_example, run_dbt


def sampled_people() -> set[str]:
    """Whoever the seeds name: users, and visitors who are never seen as one."""
    users, visitors, known = set(), set(), set()
    for seed in (ROOT / "seeds").glob("revetl_sample_*.csv"):
        with seed.open(newline="") as file:
            for row in csv.DictReader(file):
                users |= {row["user_id"]}
                visitors |= {row["anonymous_id"]}
                known |= {row["anonymous_id"]} if row["user_id"] else set()
    return (users | (visitors - known)) - {""}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    "sample_events",
    [
        pytest.param(True, id="on sample events"),
        pytest.param(False, id="on empty tables"),
    ],
)
def test_build_before_anything_has_landed(tmp_path: Path, sample_events: bool) -> None:
    profiles = len(sampled_people()) if sample_events else 0
    database = tmp_path / "revetl.duckdb"
    variables = f"{{sample_events: {str(sample_events).lower()}, package_tests: true}}"
    done = run_dbt(database, "build", "--vars", variables)
    assert "WARN=0 ERROR=0 SKIP=0" in done.stdout
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("select count(*) from revetl_profiles").fetchall() == [(profiles,)]
        assert connection.execute("select count(*) from raw.tracks").fetchall() == [(0,)]


@pytest.mark.slow
@pytest.mark.long
def test_seeding_again_leaves_landed_events_alone(tmp_path: Path) -> None:
    database = tmp_path / "revetl.duckdb"
    load_example(database)
    run_dbt(database, "seed")
    run_dbt(database, "build", "--select", "+stg_revetl__tracks", "+stg_revetl__identifies")
    with duckdb.connect(str(database)) as connection:
        counts = "select (select count(*) from raw.tracks), (select count(*) from stg_revetl__tracks)"
        assert connection.execute(counts).fetchall() == [(12_795, 12_795)]
