"""Previews an audience from its current SQL on disk, before it is built."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from revetl import dbt
from revetl.dbt.program import said as all_said
from revetl.errors import UsageError
from revetl.mapping.internal_columns import PERSON
from revetl.project.workspace import AudienceModel, Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    query,
    statement,
    table,
)

SAMPLE = 5
_PREVIEW = "revetl_audience_preview"
_IDENTIFIERS = "revetl_profile_identifiers"
_ERROR_OF_2 = re.compile(r"^\[error\] \[[^\]]*\]: (?:Failed to render SQL invalid operation: )?(.+)$", re.M)
"""The error format of dbt 2."""
_ERROR = re.compile(
    r"(?:Compilation|Database|Runtime|Parsing|Validation|Dependency|Internal) Error(?: in (.+))?$"
)


@dataclass(frozen=True)
class Coverage:
    """An identifier type: how many members have one, and their share of the members with a profile."""

    identifier_type: str
    members: int
    share: float | None


@dataclass(frozen=True)
class AudiencePreview:
    """The result of a build. `members_built`, `would_enter` and `would_leave` are None if there is no
    previous build to compare with; `coverage` is None if members have no canonical_id, or
    revetl_profile_identifiers isn't built."""

    audience: str
    key: str
    rows: int
    members: int
    null_keys: int
    duplicate_keys: int
    members_built: int | None
    would_enter: int | None
    would_leave: int | None
    coverage: tuple[Coverage, ...] | None
    sample: tuple[Mapping[str, Any], ...]


def preview_audience(workspace: Workspace, name: str, *, sample: int = SAMPLE) -> AudiencePreview:
    """Compile the model `name` from disk and run it; nothing is built or changed. `sample` is the number of
    rows to return. Raises UsageError for an unknown audience or a dbt compilation error, WarehouseError if
    the warehouse rejects the SQL."""
    with tempfile.TemporaryDirectory(prefix="revetl-preview-") as folder:
        manifest = _compiled(workspace, name, Path(folder))
    then = Workspace(workspace.options, say=workspace.say, config=workspace.config, manifest=manifest)
    audience = then.audience(name)
    node = manifest.graph()[audience.model.unique_id]
    if node.get("language", "sql") != "sql" or not node.get("compiled_code"):
        raise UsageError(f"{audience.model.place}: {name} is not a SQL model, so it cannot be previewed.")
    relations = manifest.relations()
    identifiers = table(*relations[_IDENTIFIERS]) if _IDENTIFIERS in relations else None
    warehouse = workspace.warehouse(read_only=True)
    try:
        made = table(_PREVIEW)
        warehouse.temporary(made, _query(str(node["compiled_code"]), name, warehouse))
        return _previewed(audience, identifiers, made, warehouse, sample)
    finally:
        warehouse.close()


def _compiled(workspace: Workspace, name: str, folder: Path) -> dbt.Manifest:
    """Run `dbt compile` into a temporary folder and return its manifest: target/ describes the last build."""
    kept = workspace.dbt.target_path / "partial_parse.msgpack"
    if kept.is_file():
        shutil.copy(kept, folder / kept.name)
    words = ("compile", "--select", name, "--target-path", str(folder), "--log-path", str(folder / "logs"))
    done = dbt.run(workspace.dbt, workspace.options, *words)
    if done.returncode:
        raise UsageError(f"dbt cannot compile {name}: {_sentence(all_said(done))}")
    return dbt.Manifest(replace(workspace.dbt, target_path=folder))


def _sentence(said: str) -> str:
    """Extract the error from dbt's output, without the SQL line it quotes."""
    if of_2 := _ERROR_OF_2.search(said):
        return f"{of_2[1].rstrip('.')}."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    starts = [place for place, line in enumerate(lines) if _ERROR.match(line)]
    if not starts:
        found = next((line for line in lines if "Error: " in line), lines[-1] if lines else "no reason given")
        return f"{found.rstrip('.')}."
    error = lines[starts[-1] :]
    where = _ERROR.match(error[0])
    told = [line for line in error[1:] if not re.match(r"\d\d:\d\d:\d\d", line)] or [error[0]]
    at = next((line for line in told[1:3] if re.match(r"line \d+$", line)), None)
    place = f"{where[1]}{f', {at}' if at else ''}: " if where and where[1] else ""
    return f"{place}{told[0].rstrip('.')}."


def _query(sql: str, name: str, warehouse: Warehouse) -> exp.Query:
    try:
        parsed = sqlglot.parse_one(sql, dialect=warehouse.dialect)
    except SqlglotError as error:
        raise UsageError(f"{name}: its SQL cannot be parsed: {str(error).splitlines()[0]}") from None
    if not isinstance(parsed, exp.Query):
        raise UsageError(f"{name}: its SQL is not a SELECT.")
    return parsed


def _previewed(
    audience: AudienceModel,
    identifiers: exp.Table | None,
    made: exp.Table,
    warehouse: Warehouse,
    sample: int,
) -> AudiencePreview:
    columns = list(warehouse.columns(query("select * from :made as p", made=made)))
    if audience.key.lower() not in {name.lower() for name in columns}:
        raise UsageError(
            f"{audience.model.place}: {audience.name} does not return column '{audience.key}', set by "
            "meta.revetl.key. Select it, or change the key."
        )
    asked = [audience.relation, *([identifiers] if identifiers is not None else [])]
    known = warehouse.catalog(asked)
    has_key = known[0] is not None and audience.key.lower() in {name.lower() for name in known[0]}
    counts = _counts(audience, made, warehouse, has_key)
    has_person = PERSON in {name.lower() for name in columns}
    coverage = None
    if identifiers is not None and known[-1] is not None and has_person:
        coverage = _coverage(made, identifiers, warehouse)
    rows = statement(
        "select * from :made as p order by :key limit :sample",
        made=made,
        sample=sample,
        key=column(audience.key, "p"),
    )
    return AudiencePreview(
        audience=audience.name,
        key=audience.key,
        coverage=coverage,
        sample=tuple(dict(zip(columns, row, strict=True)) for row in warehouse.rows(rows)) if sample else (),
        **counts,
    )


def _counts(audience: AudienceModel, made: exp.Table, warehouse: Warehouse, is_built: bool) -> dict[str, Any]:
    names = ("rows", "keys", "members", "members_built", "would_stay")
    own = (
        "select count(*) as rows_given, count(:key) as keys_given, count(distinct :key) as members "
        "from :made as p"
    )
    parts: dict[str, Any] = {"made": made, "key": column(audience.key, "p")}
    if is_built:
        # Join distinct keys, so that a repeated key counts once.
        (row,) = warehouse.rows(
            statement(
                f"with given as ({own}), "  # noqa: S608 - of constants
                "before_it as (select distinct :old_key as k from :built as o where :old_key is not null), "
                "after_it as (select distinct :key as k from :made as p where :key is not null), "
                "staying as (select count(*) as members from before_it inner join after_it "
                "on before_it.k = after_it.k), "
                "built as (select count(*) as members from before_it) "
                "select given.rows_given, given.keys_given, given.members, built.members as members_built, "
                "staying.members as staying from given cross join built cross join staying",
                built=audience.relation,
                old_key=column(audience.key, "o"),
                **parts,
            )
        )
    else:
        ((*given,),) = warehouse.rows(statement(own, **parts))
        row = (*given, None, None)
    found = dict(zip(names, row, strict=True))
    members, built, staying = found["members"], found["members_built"], found["would_stay"]
    return {
        "rows": found["rows"],
        "members": members,
        "null_keys": found["rows"] - found["keys"],
        "duplicate_keys": found["keys"] - members,
        "members_built": built,
        "would_enter": None if staying is None else members - staying,
        "would_leave": None if staying is None else built - staying,
    }


def _coverage(made: exp.Table, identifiers: exp.Table, warehouse: Warehouse) -> tuple[Coverage, ...]:
    rows = warehouse.rows(
        statement(
            "with people as (select distinct p.canonical_id from :made as p "
            "where p.canonical_id is not null), "
            "everybody as (select count(*) as members from people) "
            "select i.identifier_type, count(distinct people.canonical_id) as members, "
            "max(everybody.members) as people from :identifiers as i "
            "left join people on people.canonical_id = i.canonical_id cross join everybody "
            "group by i.identifier_type order by i.identifier_type",
            made=made,
            identifiers=identifiers,
        )
    )
    return tuple(
        Coverage(str(kind), int(members), round(members / people, 4) if people else None)
        for kind, members, people in rows
    )
