"""dbt on fakesnow's server in Snowflake's place: every model is built, and holds what it holds on DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.helpers.built import copy_with_examples
from tests.models.conftest import run_dbt
from tests.warehouses.messages import MESSAGES, MORE_MESSAGES, Row
from tests.warehouses.snowflake import Snowflake, running_snowflake

pytestmark = [pytest.mark.warehouses]

AS_OF = ["--vars", "as_of: 2011-07-01"]

# When and by what something was done, and hashes that each engine makes as it does.
OWN = {
    "loaded_at",
    "uuid_ts",
    "settled_at",
    "sighting_hash",
    "hash_sum",
    "batch",
    "recorded_at",
    "invocation_id",
}


@pytest.fixture(scope="module")
def snowflake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snowflake]:
    """A server with nothing in it."""
    with running_snowflake(tmp_path_factory.mktemp("snowflake")) as running:
        yield running


def build(snowflake: Snowflake, database: Path, *arguments: str) -> str:
    """Build the project beside the database on both, with the tests of the data; gives what it says."""
    project = database.with_name("project")
    done = snowflake.dbt(project, "build", *arguments, *AS_OF, "--exclude", "test_type:unit")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "ERROR=0 SKIP=0" in done.stdout
    run_dbt(database, "build", *arguments, *AS_OF, "--exclude", "test_type:unit", project=project)
    return done.stdout


def assert_equal(snowflake: Snowflake, database: Path) -> None:
    """Every relation of the project holds the same rows on both."""
    manifest = json.loads((database.parent / "target" / "manifest.json").read_text())
    models = {
        (node["schema"], node["alias"])
        for node in manifest["nodes"].values()
        if node["resource_type"] in ("model", "seed")
    }
    with duckdb.connect(str(database)) as connection:
        relations = connection.execute(
            "select table_schema, table_name, list(column_name), list(data_type) "
            "from information_schema.columns group by all order by all"
        ).fetchall()
        relations = [relation for relation in relations if relation[:2] in models]
        assert len(relations) > 40
        for schema, name, columns, types in relations:
            selected = ", ".join(
                f"cast({column} as varchar) as {column}" if kind == "TIMESTAMP" else column
                for column, kind in zip(columns, types, strict=True)
                if column not in OWN
            )
            here = connection.execute(f"select {selected} from {schema}.{name}").fetchall()
            there = snowflake.query(f"select {selected} from {schema.replace('main', 'shop')}.{name}")
            assert comparable(there) == comparable(here), name


def comparable(rows: list[tuple[Any, ...]]) -> list[str]:
    """Rows in an order, with documents as such."""
    return sorted(repr([document(value) for value in row]) for row in rows)


def document(value: Any) -> Any:
    """A text that is a JSON object or array, whatever its spaces."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(json.loads(value), sort_keys=True)
    return value


@pytest.mark.slow
def test_builds_hold_what_they_hold_on_duckdb(snowflake: Snowflake, tmp_path: Path) -> None:
    """From the sample events, then from messages that have landed, and again when more have."""
    database = tmp_path / "revetl.duckdb"
    copy_with_examples(tmp_path / "project")
    build(snowflake, database)
    assert_equal(snowflake, database)
    for landed in (MESSAGES, MORE_MESSAGES):
        land(snowflake, database, landed)
        said = build(snowflake, database)
        assert_equal(snowflake, database)
    # The last build made again what had changed alone.
    assert "NOTHING NEW" in said


def land(snowflake: Snowflake, database: Path, landed: dict[str, list[Row]]) -> None:
    """Add messages to both."""
    with duckdb.connect(str(database)) as connection:
        for table, rows in landed.items():
            if rows:
                snowflake.insert(f"raw.{table}", rows)
                places = ", ".join("?" for _ in rows[0])
                connection.executemany(
                    f"insert into raw.{table} ({', '.join(rows[0])}) values ({places})",
                    [list(row.values()) for row in rows],
                )
