"""The raw tables and their columns, from `models/staging/_sources.yml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from revetl.local.package_yaml import read_package_yaml
from revetl.local.paths import dbt_project_dir
from revetl.warehouse.foreign_tables import check_ours

MESSAGE_TABLES = {
    "track": "tracks",
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}
"""Segment's message types and their tables."""

REJECTED = "rejected_messages"


@cache
def raw_columns() -> dict[str, dict[str, str]]:
    """Return table to column to type, in order."""
    (raw,) = read_package_yaml(dbt_project_dir() / "models" / "staging" / "_sources.yml")["sources"]
    return {
        table["name"]: {column["name"]: column["data_type"] for column in table["columns"]}
        for table in raw["tables"]
    }


def check_all_ours(schema: str, found: Mapping[str, Iterable[str]]) -> None:
    """Raise UsageError if an existing table (name to columns) isn't one of revetl's raw tables."""
    for name, there in found.items():
        check_ours(schema, name, raw_columns()[name], there, "raw_schema")
