"""A new project on its sample events, which move with the clock: every example audience selects somebody, and
a build after a cut, and the tests of an experiment, do what their pages say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

import revetl
from revetl.inspect.identity import cut
from revetl.project.scaffolding import make_project
from tests.conftest import SandboxClient
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


def test_the_ancestors_of_an_audience_build_after_a_cut(shop: Path) -> None:
    variables = ("--vars", "{sample_ends_on: 2026-03-02, as_of: 2026-03-05}")
    made = cut(
        revetl.Project(shop, profiles_dir=shop).workspace, "user_id:C12348", "email:c12348@example.com"
    )
    assert made.were_one_profile
    file = shop / "dbt_project.yml"
    file.write_text(
        file.read_text().replace("    raw_schema: raw\n", "    raw_schema: raw\n    cut_edges: cut_edges\n")
    )
    run_dbt(shop / "shop.duckdb", "build", "--select", "+high_churn", "cut_edges", *variables, project=shop)
    apart = "select count(distinct canonical_id) from revetl_profile_identifiers where identifier_value in "
    assert ask(shop, f"{apart} ('C12348', 'c12348@example.com')") == [(2,)]


OFFERS = """
models:
  - name: offers
    config:
      meta:
        revetl:
          key: user_id
          split: {a: 40, b: 40, control: 20}
          sync:
            - {to: crm, variants: a}
    data_tests:
      - revetl.delivered_equals_audience:
          arguments: {to: crm, key: user_id}
          config: {severity: error}
"""


def test_delivered_members_of_an_experiment_are_those_of_its_variants(
    shop: Path, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "models" / "audiences" / "offers.sql").write_text(
        "select user_id, country from {{ ref('revetl', 'revetl_profiles') }} where user_id is not null"
    )
    (shop / "models" / "audiences" / "offers.yml").write_text(OFFERS)
    database = shop / "shop.duckdb"
    built = run_dbt(database, "run", "--select", "offers", "revetl_experiment_lift", project=shop)
    assert "offers: without a goal, revetl_experiment_lift has no lift for it." in built.stdout
    monkeypatch.setenv("REVETL_SANDBOX_URL", sandbox.url)
    (run,) = revetl.Project(shop, profiles_dir=shop).sync("offers")
    ((members,),) = ask(shop, "select count(*) from offers")
    assert 0 < run.delivered["add"] < members
    run_dbt(database, "test", "--select", "offers", project=shop)
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "delete from main_revetl.sync_state where key = (select min(key) from main_revetl.sync_state)"
        )
    failed = run_dbt(database, "test", "--select", "offers", project=shop, exit_code=1)
    assert "Got 1 result" in failed.stdout
