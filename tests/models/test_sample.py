"""A new project on its sample events, which move with the clock: every example audience selects somebody, and
a build after a cut, and the tests of an experiment, do what their pages say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from revetl.project.scaffolding import make_project
from tests.helpers.built import EXAMPLES
from tests.models.conftest import run_dbt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, built."""
    folder = tmp_path_factory.mktemp("sample") / "shop"
    make_project(folder)
    run_dbt(folder / "shop.duckdb", "deps", project=folder)
    build(folder)
    return folder


def build(folder: Path, *words: str) -> None:
    done = run_dbt(folder / "shop.duckdb", "build", *words, project=folder)
    assert "WARN=0 ERROR=0" in done.stdout


def ask(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "shop.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_every_example_audience_selects_somebody(shop: Path) -> None:
    names = sorted(file.stem for file in EXAMPLES.glob("*.sql"))
    assert len(names) == 5
    sizes = {name: ask(shop, f"select count(*) from {name}")[0][0] for name in names}
    assert not [name for name, size in sizes.items() if size == 0]


def test_the_sample_ended_yesterday_with_every_type_of_message(shop: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert ask(shop, "select max(timestamp::date) from stg_revetl__tracks") == [(yesterday,)]
    for name in ("tracks", "identifies", "pages", "groups"):
        assert ask(shop, f"select count(*) > 0 from stg_revetl__{name}") == [(True,)], name
    (risks,) = ask(
        shop, "select count(distinct churn_risk_score), max(churn_risk_score) from revetl_profiles"
    )
    assert risks[0] > 10
    assert ask(shop, "select count(*) > 0 from revetl_profiles where user_id is null") == [(True,)]
    assert ask(shop, "select count(*) > 2 from revetl_accounts") == [(True,)]
    mixed = "select count(distinct source) from revetl_events group by canonical_id having count(*) > 1"
    assert max(row[0] for row in ask(shop, mixed)) == 4


def test_a_build_on_a_later_day_gives_what_a_full_one_does(shop: Path) -> None:
    everything = "select * exclude (canonical_id) from revetl_profiles order by user_id, anonymous_id, email"
    variables = ("--vars", "{sample_ends_on: 2026-03-02, as_of: 2026-03-05}")
    build(shop, "--vars", "{sample_ends_on: 2026-03-01, as_of: 2026-03-05}")
    build(shop, *variables)
    moved = ask(shop, everything)
    build(shop, "--full-refresh", *variables)
    assert ask(shop, everything) == moved
    assert ask(shop, "select max(timestamp::date)::varchar from stg_revetl__tracks") == [("2026-03-02",)]
