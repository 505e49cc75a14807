"""A project whose identity models are tables that a test fills."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from tests.helpers.project import ProjectFolder

Identifiers = Sequence[tuple[str, str]]


def identifier_id(kind: str, value: str) -> str:
    return hashlib.md5(f"{kind}:{value}".encode(), usedforsecurity=False).hexdigest()


def declare(project: ProjectFolder, name: str) -> None:
    """Have the manifest say that a table is a model of the package."""
    project._nodes[f"model.revetl.{name}"] = {
        "resource_type": "model",
        "unique_id": f"model.revetl.{name}",
        "package_name": "revetl",
        "name": name,
        "alias": name,
        "database": project.backend.database,
        "schema": project.backend.schema,
        "original_file_path": f"models/{name}.sql",
        "config": {"tags": [], "meta": {}},
        "depends_on": {"nodes": []},
    }
    project.write_manifest()


def rows_of(columns: str, rows: Iterable[Sequence[Any]]) -> str:
    """A query of text values."""
    names = [name.strip() for name in columns.split(",")]
    made = [
        "select "
        + ", ".join(
            f"cast({_literal(value)} as varchar) as {name}" for value, name in zip(row, names, strict=True)
        )
        for row in rows
    ]
    empty = "select " + ", ".join(f"cast(null as varchar) as {name}" for name in names) + " where 1 = 0"
    return " union all ".join(made) or empty


def _literal(value: Any) -> str:
    return "null" if value is None else "'" + str(value).replace("'", "''") + "'"


def identity(
    project: ProjectFolder,
    profiles: Sequence[Identifiers],
    conflicts: Iterable[tuple[tuple[str, str], tuple[str, str]]] = (),
    merges: Iterable[tuple[tuple[str, str], tuple[str, str]]] = (),
) -> None:
    """Fill the identity models: profiles by their identifiers, the oldest first; `conflicts` of a profile's
    identifier (left) with another profile's (right), and `merges` of a loser into a survivor."""
    owner = {each: identifier_id(*profile[0]) for profile in profiles for each in profile}
    tables = {
        "int_revetl__identity_graph": rows_of(
            "identifier_id, identifier_type, identifier_value, canonical_id",
            [(identifier_id(*each), *each, canonical) for each, canonical in owner.items()],
        ),
        "revetl_identity_conflicts": rows_of(
            "left_type, left_value, left_id, left_canonical_id, right_type, right_value, right_id, "
            "right_canonical_id, kind, reason",
            [
                (
                    *(*left, identifier_id(*left), owner[left]),
                    *(*right, identifier_id(*right), owner[right]),
                    *("seen", "limit"),
                )
                for left, right in conflicts
            ],
        ),
        "revetl_profile_merges": rows_of(
            "loser_id, survivor_id",
            [(identifier_id(*loser), identifier_id(*survivor)) for loser, survivor in merges],
        ),
        "int_revetl__identity_rules": "select 'user_id' as identifier_type, 1 as priority "
        "union all select 'email', 2 union all select 'phone', 3 union all select 'anonymous_id', 4",
    }
    for name, query in tables.items():
        project.sql(f"create or replace table {name} as {query}")
        declare(project, name)
