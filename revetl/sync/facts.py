"""What a diff has to know before it is made: two statements, whatever there is to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from revetl.project import Sync
from revetl.sql import column, statement
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse


@dataclass(frozen=True)
class Build:
    """The last build of a model, as `model_builds` has it."""

    built_at: datetime | None = None
    invocation_id: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class Places:
    """What the catalog says: the audience's columns (None where it was not built), and which of the runner's
    tables are there."""

    columns: dict[str, str] | None
    tables: frozenset[str]

    @property
    def has_state(self) -> bool:
        """Whether a run has ever made the tables."""
        return "sync_state" in self.tables


@dataclass(frozen=True)
class Facts:
    """What the tables say about a sync. Of its state: rows held, rows whose outcome is unknown, rows hashed
    by another maker, and the maker and the fields of one of those. `rejections` are the records that the
    destination refuses, `last_run` is the sync's newest run, `suppressed_kinds` are the kinds of identifiers
    that anybody is suppressed by."""

    has_state: bool = False
    held_rows: int = 0
    uncertain: int = 0
    otherwise: int = 0
    hash_by_before: str = ""
    fields_before: str | None = None
    rejections: int = 0
    last_run: str | None = None
    suppressed_kinds: tuple[str, ...] = ()
    build: Build = Build()


_READ = ("state_version", "sync_state", "sync_rejections", "sync_runs", "suppressions", "model_builds")

_PARTS = {
    "state_version": """
        select 'version', v.revetl_version, cast(null as timestamp), v.version, 0, 0 from :table as v
    """,
    "sync_state": """
        select 'state',
            max(case when row_hash is not null and :made_by <> :hash_by then hash_by || fields end),
            cast(null as timestamp), count(*), count(pending_operation),
            count(case when row_hash is not null and :made_by <> :hash_by then 1 end)
        from :table as s where sync = :sync
    """,
    "sync_rejections": """
        select 'rejections', cast(null as varchar), cast(null as timestamp), count(*), 0, 0
        from :table as r where r.sync = :sync
    """,
    "sync_runs": """
        select 'run', max(run_id), cast(null as timestamp), count(*), 0, 0
        from :table as r where r.sync = :sync
    """,
    "suppressions": """
        select 'suppressed', identifier_type, cast(null as timestamp), count(*), 0, 0
        from :table as p group by identifier_type
    """,
    "model_builds": """
        select 'build', invocation_id, completed_at, case when status <> 'success' then 1 else 0 end, 0, 0
        from :table as b where b.unique_id = :unique_id
    """,
}
"""Each gives what, text, moment, and three numbers."""


def find_places(sync: Sync, warehouse: Warehouse, tables: Tables) -> Places:
    """Look the audience and the runner's tables up."""
    audience, *found = warehouse.catalog([sync.audience.relation, *map(tables.named, _READ)])
    there = (name for name, columns in zip(_READ, found, strict=True) if columns is not None)
    return Places(audience, frozenset(there))


def read_facts(
    sync: Sync,
    warehouse: Warehouse,
    tables: Tables,
    places: Places,
    hash_by: str,
    made_by: exp.Expr | None = None,
) -> Facts:
    """Read what the tables that are there say; `made_by` is the maker of a state row's hash, where that is
    not `hash_by` as it stands. Raises UsageError when a newer revetl made them."""
    parts = [
        statement(
            _PARTS[name],
            table=tables.named(name),
            sync=sync.name,
            hash_by=hash_by,
            made_by=column("hash_by") if made_by is None else made_by,
            unique_id=sync.audience.model.unique_id,
        )
        for name in _READ
        if name in places.tables
    ]
    if not parts:
        return Facts()
    query = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    found: dict[str, list[tuple[Any, ...]]] = {}
    for what, *rest in warehouse.rows(query):
        found.setdefault(what, []).append(tuple(rest))
    for made_by, _, version, *_ in found.get("version", []):
        tables.check(int(version), str(made_by))
    before, _, *held = found.get("state", [(None, None, 0, 0, 0)])[0]
    # No maker's name has a brace, and each JSON of fields begins with one.
    hash_by_before, brace, fields = str(before or "").partition("{")
    held_rows, uncertain, otherwise = map(int, held)
    builds = [
        Build(moment, invocation_id, bool(failed))
        for invocation_id, moment, failed, *_ in found.get("build", [])
    ]
    return Facts(
        has_state=places.has_state,
        held_rows=held_rows,
        uncertain=uncertain,
        otherwise=otherwise,
        hash_by_before=hash_by_before,
        fields_before=brace + fields if brace else None,
        rejections=sum(int(count) for _, _, count, *_ in found.get("rejections", [])),
        last_run=next((run_id for run_id, *_ in found.get("run", [])), None),
        suppressed_kinds=tuple(sorted(str(kind) for kind, *_ in found.get("suppressed", []))),
        build=builds[0] if builds else Build(),
    )
