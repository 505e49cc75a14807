"""A new project on dbt 2, the real program: built, compared with dbt 1.11 row for row, planned and synced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import yaml

from revetl.project.scaffolding import make_project
from tests.conftest import Cli, SandboxClient

INSTALL = Path(__file__).parents[1] / "helpers" / "dbt_v2.sh"
DBT_1 = Path(sys.executable).with_name("dbt")
CANNOT_INSTALL = 77
BUILD = ("build", "--exclude-resource-type", "unit_test", "--vars", "as_of: 2011-12-10")
CLOCKS = {"settled_at", "completed_at", "changed_at", "recorded_at", "invocation_id", "made_by"}
"""Columns of when and by which run, and the fingerprint of the traits, which dbt 1 and 2 write apart."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def dbt_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dbt_2")
    done = subprocess.run(
        [INSTALL, folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )
    if done.returncode == CANNOT_INSTALL:
        pytest.skip(f"dbt 2 cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "dbt"


@pytest.fixture(scope="module")
def built(dbt_2: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A new project, built by a dbt, once each."""
    made: dict[Path, Path] = {}

    def build(dbt: Path) -> Path:
        if dbt not in made:
            root = tmp_path_factory.mktemp("built") / "shop"
            make_project(root)
            run(dbt, root, "deps")
            if dbt == dbt_2:  # It looks for a package's seeds in the package's path twice.
                (root / "dbt_packages/revetl/dbt_packages").mkdir()
                (root / "dbt_packages/revetl/dbt_packages/revetl").symlink_to("..")
            run(dbt, root, *BUILD)
            made[dbt] = root
        return made[dbt]

    return build


def run(dbt: Path, root: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [dbt, *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def rows(root: Path) -> dict[str, list[tuple[str | None, ...]]]:
    """Every row of every table and view, as texts, without the columns that no two runs share."""
    with duckdb.connect(root / "shop.duckdb", read_only=True) as connection:
        columns: dict[str, list[str]] = {}
        for schema, table, column in connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns order by all"
        ).fetchall():
            if column not in CLOCKS:
                columns.setdefault(f'"{schema}"."{table}"', []).append(f'"{column}"::varchar')
        return {
            table: connection.execute(f"select {', '.join(names)} from {table} order by all").fetchall()
            for table, names in columns.items()
        }


def test_every_table_of_a_new_project_has_the_same_rows_on_dbt_2_as_on_dbt_1(
    built: Callable[[Path], Path], dbt_2: Path
) -> None:
    by_1, by_2 = rows(built(DBT_1)), rows(built(dbt_2))
    assert {table for table in by_1.keys() | by_2.keys() if by_1.get(table) != by_2.get(table)} == set()
    assert len(by_1) > 60 and sum(map(len, by_1.values())) > 1_000


def test_an_audience_is_planned_and_synced_by_what_dbt_2_wrote(
    built: Callable[[Path], Path], dbt_2: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    root = built(dbt_2)
    (root / "revetl.yml").write_text(f"destinations: {{crm: {{type: webhook, url: '{sandbox.url}/crm'}}}}\n")
    (root / "models/audiences/vips.sql").write_text(
        "{{ config(meta={'revetl': {'key': 'user_id', 'sync': [{'to': 'crm'}]}}) }}\n"
        "select user_id from {{ ref('revetl', 'revetl_profiles') }} where user_id is not null\n"
    )
    run(dbt_2, root, "build", "--select", "vips")
    with duckdb.connect(root / "shop.duckdb", read_only=True) as connection:
        people = len(connection.execute("select user_id from vips").fetchall())
    given = ("--dbt", str(dbt_2))
    listed = json.loads(cli(root, "list", "-o", "json", *given).stdout)
    assert {"vips", "high_churn", "new_customers"} <= {each["audience"] for each in listed}
    planned = json.loads(cli(root, "plan", "audience", "vips", "-o", "json", *given).stdout)
    done = cli(root, "sync", "audience", "vips", *given)
    assert (done.returncode, f"{people} added" in done.stdout) == (0, True), done.stderr
    assert people > 0 and str(people) in json.dumps(planned)
    selected = cli(root, "sync", "--select", "vips,config.materialized:table", *given)
    assert (selected.returncode, "nothing changed" in selected.stdout) == (0, True), selected.stderr


def test_a_first_split_of_two_identifiers_takes_effect_once_the_variable_names_its_seed(
    built: Callable[[Path], Path], dbt_2: Path, cli: Cli
) -> None:
    root = built(dbt_2)
    done = cli(root, "identity", "cut", "user_id:C12370", "email:c12370@example.com", "--dbt", str(dbt_2))
    assert (done.returncode, "cut_edges: cut_edges" in done.stdout) == (0, True), done.stdout + done.stderr
    document = yaml.safe_load((root / "dbt_project.yml").read_text())
    document["vars"]["revetl"]["cut_edges"] = "cut_edges"
    (root / "dbt_project.yml").write_text(yaml.safe_dump(document))
    run(dbt_2, root, "build", "--exclude-resource-type", "unit_test", "test")
    with duckdb.connect(root / "shop.duckdb", read_only=True) as connection:
        found = connection.execute(
            "select count(distinct canonical_id) from revetl_profile_identifiers "
            "where identifier_value in ('C12370', 'c12370@example.com')"
        ).fetchall()
    assert found == [(2,)]


def test_a_model_that_dbt_2_cannot_compile_stops_the_syncs_that_are_made_of_it(
    built: Callable[[Path], Path], dbt_2: Path, cli: Cli
) -> None:
    root = built(dbt_2)
    (root / "models/audiences/broken.sql").write_text(
        "{{ config(meta={'revetl': {'key': 'user_id', 'sync': [{'to': 'crm'}]}}) }}\n"
        "{% if execute %}{{ exceptions.raise_compiler_error('no luck') }}{% endif %}select 1 as user_id\n"
    )
    (root / "models/audiences/after.sql").write_text(
        "{{ config(meta={'revetl': {'key': 'user_id', 'sync': [{'to': 'crm'}]}}) }}\n"
        "select user_id from {{ ref('broken') }}\n"
    )
    run(dbt_2, root, "build", "--select", "broken", "after", code=1)
    from revetl import dbt

    found = dbt.read_project(dbt.Options(project_dir=root))
    manifest = dbt.Manifest(found)
    after = next(model for model in manifest.models() if model.name == "after")
    assert manifest.failures(after) == ["after", "broken"]
    preview = cli(root, "audience", "preview", "broken", "--dbt", str(dbt_2))
    assert (preview.returncode, "no luck" in preview.stderr) == (2, True), preview.stderr
