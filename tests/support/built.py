"""The package's files as a project of its own, and the tables of a dbt build by their names alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "revetl" / "scaffold" / "models" / "audiences"
"""The audiences that a new project has."""
_INTERNAL = "revetl_internal"


def copy_package(folder: Path) -> Path:
    """Copy the dbt package into a folder, to be run as a project; gives the folder of its audiences, which
    is empty."""
    for part in ("models", "macros", "seeds", "snapshots"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "dbt_project.yml", folder)
    audiences = folder / "models" / "audiences"
    audiences.mkdir()
    return audiences


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
