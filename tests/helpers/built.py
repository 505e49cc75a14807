"""The package's files as a project of its own, and the tables of a dbt build by their names alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "revetl" / "project" / "scaffold" / "models" / "audiences"
"""The audiences that a new project has."""
SCHEMAS = {"raw_schema": "raw", "state_schema": "revetl"}
"""The package's variables of its schemas, as tests write their SQL."""

_INTERNAL = "revetl_internal"


def copy_package(folder: Path) -> Path:
    """Copy the dbt package into a folder, to be run as a project; gives the folder of its audiences, which
    is empty."""
    for part in ("models", "macros", "seeds", "snapshots"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "dbt_project.yml", folder)
    set_schemas(folder)
    audiences = folder / "models" / "audiences"
    audiences.mkdir()
    return audiences


def set_schemas(folder: Path) -> None:
    """Have a project keep raw events and state in schemas that go by one name on every engine."""
    document = yaml.safe_load((folder / "dbt_project.yml").read_text())
    document.setdefault("vars", {}).setdefault("revetl", {}).update(SCHEMAS)
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(document, sort_keys=False))


def in_fixed_schemas(arguments: Sequence[str]) -> tuple[str, ...]:
    """Arguments of dbt with the variables of the schemas that tests write their SQL for."""
    words = list(arguments)
    given = {}
    if "--vars" in words:
        place = words.index("--vars")
        given = yaml.safe_load(words[place + 1])
        del words[place : place + 2]
    return (*words, "--vars", json.dumps({**SCHEMAS, **given}, default=str))


def copy_with_examples(folder: Path) -> None:
    """Copy the dbt package into a folder as a project that has the example audiences and every target."""
    shutil.copytree(EXAMPLES, copy_package(folder), dirs_exist_ok=True)
    shutil.copy(ROOT / "profiles.yml", folder)


def connect(database: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file in which the package was built in the schema `main`: the tables of its machinery,
    which have a schema of their own, go by their names too."""
    connection = duckdb.connect(str(database), read_only=read_only)
    schema = f"main_{_INTERNAL}"
    there = connection.execute("select 1 from duckdb_schemas() where schema_name = ?", [schema]).fetchall()
    if there:
        connection.execute(f"set search_path = 'main,{schema}'")
    return connection
