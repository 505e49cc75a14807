"""What an import refuses, in one sentence with the line, and that it then writes nothing; what it writes."""
# ruff: noqa: E501  (SQL as it is written)

from __future__ import annotations

import json
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml

from revetl.errors import UsageError
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.importers.segment_sql.cases import CANONICAL

T = "SELECT user_id FROM tracks WHERE "
REFUSED = {
    "no sql": ("duckdb", "SELECT FROM WHERE x", "line 1: invalid duckdb SQL"),
    "another dialect": (
        "duckdb",
        "SELECT user_id FROM `prod.tracks`",
        "line 1: invalid duckdb SQL.*It is valid bigquery",
    ),
    "two statements": ("duckdb", f"{T} 1 = 1; {T} 1 = 1", "contains 2 statements"),
    "nothing": ("duckdb", "-- nothing", "contains 0 statements"),
    "no select": ("duckdb", "\nDELETE FROM tracks", "line 2: this is DELETE, but an audience must be a SELECT"),
    "jinja": ("duckdb", "SELECT user_id\nFROM {{ ref('x') }}", "line 2: {{ starts Jinja"),
    "a table": ("duckdb", "SELECT user_id\nFROM trakcs", "line 2: table 'trakcs' not found.*Did you mean 'tracks'?"),
    "an event's table": (
        "duckdb", "SELECT user_id FROM prod.order_complete", "'order_complete'.*Did you mean 'order_completed'?",
    ),
    "a column": ("duckdb", f"{T}\n  price > 100", "line 2: column 'price' not found in tracks. Write properties.price"),
    "a column of users": ("duckdb", "SELECT id FROM users WHERE emial = 'x'", "column 'emial' not found in users.*profile_traits.*Did you mean 'email'?"),
    "a qualified column": ("duckdb", "SELECT t.user_id FROM tracks t WHERE t.price > 1", "column 'price' not found in t"),
    "an ambiguous column": (
        "duckdb", "SELECT user_id FROM tracks a JOIN pages b ON a.user_id = b.user_id", "'user_id' is ambiguous between a and b",
    ),
    "no person": ("duckdb", "SELECT event FROM tracks", "the outer SELECT returns no user_id or anonymous_id"),
    "a nameless column": ("duckdb", "SELECT user_id, count(*) FROM tracks GROUP BY 1", "has no name. Name it with AS"),
    "sides that differ": ("duckdb", f"{T} 1 = 1 UNION\nSELECT event FROM tracks", "line 2: one side of the set operation"),
    "an element": ("snowflake", f"{T}\nproperties:products[0].price > 1", "line 2: .*reads an array element"),
    "an array": ("snowflake", f"{T} 1 = 1 AND\narray_size(properties:products) > 2", "line 2: products is used as an array"),
    "a document": ("postgres", f"{T}\n properties ? 'coupon'", "line 2: properties is used as a whole"),
    "unnest": ("bigquery", "SELECT user_id FROM tracks, UNNEST(JSON_QUERY_ARRAY(properties, '$.products')) p", "UNNEST cannot be translated"),
    "lateral": ("snowflake", "SELECT user_id FROM tracks,\n LATERAL FLATTEN(input => properties:products) f", "line 2: .*cannot be translated"),
    "recursive": ("postgres", "WITH RECURSIVE a AS (SELECT user_id FROM tracks) SELECT user_id FROM a", "WITH RECURSIVE"),
    "a parameter": ("postgres", f"{T} event = :event", "a parameter cannot be translated"),
    "a function": ("snowflake", f"{T}\nMY_UDF(event) = 1", "line 2: MY_UDF().*has no translation to duckdb"),
    "a zone": ("postgres", f"{T} timestamp AT TIME ZONE 'Europe/Paris' > now()", "AT TIME ZONE"),
    "a week": ("bigquery", f"{T} TIMESTAMP_TRUNC(timestamp, WEEK) = CURRENT_TIMESTAMP()", "weeks start on Monday"),
    "a person compared": (
        "duckdb", f"WITH a AS ({T} 1 = 1)\nSELECT user_id FROM a WHERE user_id LIKE 'x%'",
        "line 2: 'user_id' is a person here",
    ),
    "names of both kinds": ("duckdb", f"{T} CASE event WHEN 'Order Completed' THEN 1 WHEN 'signup' THEN 2 END = 1", "Use the same form for all of them"),
    "months between": ("postgres", f"{T} now() - timestamp < interval '1 month'", "Use days"),
    "a sample": ("postgres", "SELECT user_id FROM tracks TABLESAMPLE BERNOULLI (1)", "a sample of a table"),
    "star of a table": ("duckdb", "SELECT user_id FROM (SELECT * FROM vip) v", "SELECT * of vip"),
    "in something else": ("duckdb", f"{T} user_id IN (SELECT event FROM tracks)", "which is not a message's or person's id"),
}  # fmt: skip


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    """A project with a table of its own."""
    project.declare("vip", {"key": "user_id"})
    return project


@pytest.mark.parametrize("name", REFUSED)
def test_refused(shop: ProjectFolder, name: str) -> None:
    dialect, sql, words = REFUSED[name]
    file = shop.root / "in.sql"
    file.write_text(sql)
    with pytest.raises(UsageError) as told:
        shop.open().import_audience(file, "it", dialect=dialect)
    pattern = re.escape(words).replace(r"\.\*", ".*")
    assert re.search(pattern, str(told.value)), told.value
    assert "in.sql" in str(told.value)
    assert "\n" not in str(told.value)
    assert not (shop.root / "models" / "audiences").exists()


def test_files(shop: ProjectFolder, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop.root / "lookers.sql").write_text(CANONICAL)
    done = cli(shop, "audience", "import", "lookers.sql", "--name", "lookers", "-o", "json")
    assert done.returncode == 0, done.stderr
    folder = shop.root / "models" / "audiences"
    assert json.loads(done.stdout) == {
        "name": "lookers", "model": str(folder / "lookers.sql"), "yaml": str(folder / "lookers.yml"),
    }  # fmt: skip
    text = (folder / "lookers.sql").read_text()
    assert re.match(
        r"{# Imported from lookers.sql \(duckdb\) on \d{4}-\d\d-\d\d\. #}\nwith tracks as \(\n", text
    )
    for part in (
        "from {{ ref('revetl', 'stg_revetl__tracks') }} as tracks",
        "event_text = 'Product Viewed'",
        "and {{ revetl.json_decimal('properties', 'price') }} > 100",
        "timestamp > {{ revetl.days_before(revetl.as_of(), 7) }}",
        "except",
        "select * from members",
    ):
        assert part in text
    (model,) = yaml.safe_load((folder / "lookers.yml").read_text())["models"]
    assert model["config"]["meta"]["revetl"] == {"key": "user_id"}
    assert model["columns"][0]["data_tests"] == [
        "not_null", "unique",
        {"relationships": {"arguments": {"to": "ref('revetl', 'revetl_profiles')", "field": "user_id"}}},
    ]  # fmt: skip

    # What is there stays, unless it is said.
    (folder / "lookers.sql").write_text("mine")
    again = cli(shop, "audience", "import", "lookers.sql", "--name", "lookers")
    assert again.returncode == 2
    assert again.stderr.startswith("Error: ") and "--force" in again.stderr
    assert (folder / "lookers.sql").read_text() == "mine"
    monkeypatch.setattr(
        sys, "stdin", StringIO("SELECT user_id, count(*) AS n FROM order_completed GROUP BY 1")
    )
    forced = cli(shop, "audience", "import", "-", "--name", "lookers", "--key", "email", "--force", "-q")
    assert forced.returncode == 0, forced.stderr
    assert forced.stderr == ""
    text = (folder / "lookers.sql").read_text()
    assert "Imported from stdin" in text
    assert "where profiles.email is not null" in text
    assert "chosen.n" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("in.sql", "--name", "Bad-Name"), "is not a valid model name"),
        (("in.sql", "--name", "revetl_profiles"), "has that name"),
        (("in.sql", "--name", "it", "--dialect", "snowflak"), "Did you mean 'snowflake'?"),
        (("in.sql", "--name", "it", "--key", "emial"), "Did you mean 'email'?"),
        (("in.sql", "--name", "it", "--folder", "elsewhere"), "dbt reads models from models"),
        (("none.sql", "--name", "it"), "none.sql: cannot be read"),
    ],
)
def test_arguments(shop: ProjectFolder, cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    (shop.root / "in.sql").write_text(CANONICAL)
    done = cli(shop, "audience", "import", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list((shop.root / "models").iterdir())


TARGETS = ["postgres", "snowflake", "bigquery", "redshift", "databricks", "spark", "fabric"]


@pytest.mark.parametrize("target", TARGETS)
def test_for_another_engine(shop: ProjectFolder, target: str) -> None:
    outputs = {"dev": {"type": target, "schema": "s", "dbname": "d", "database": "d"}}
    (shop.root / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": outputs}}))
    file = shop.root / "in.sql"
    file.write_text(CANONICAL)
    made = shop.open().import_audience(file, "lookers", dialect="snowflake")
    text = made.model.read_text()
    assert ("except distinct" in text) == (target == "bigquery")
    assert "`" not in text and "[" not in text


def test_in_the_package_itself_refs_have_no_package(tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "own")
    document = yaml.safe_load((project.root / "dbt_project.yml").read_text())
    (project.root / "dbt_project.yml").write_text(yaml.safe_dump({**document, "name": "revetl"}))
    file = project.root / "in.sql"
    file.write_text(CANONICAL)
    made = project.open().import_audience(file, "lookers")
    assert "{{ ref('revetl', 'stg_revetl__tracks') }}" in made.model.read_text()
    assert "to: ref('revetl', 'revetl_profiles')" in made.yaml.read_text()
