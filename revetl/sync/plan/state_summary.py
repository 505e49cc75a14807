"""Read the facts that a diff needs first, in two statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlglot import exp

from revetl.project.workspace import Sync
from revetl.sync.plan.presence import MEMBER, Presence, written_by_mode
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement


@dataclass(frozen=True)
class Build:
    """The last build of a model, from `model_builds`."""

    built_at: datetime | None = None
    invocation_id: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class CatalogSummary:
    """The audience's columns (None if it was not built), and which of revetl's tables exist."""

    columns: dict[str, str] | None
    tables: frozenset[str]
    has_presence: bool = True
    """False if an older version created the state and no run has migrated it yet."""
    has_targets: bool = True
    """The same for `model_builds`."""

    @property
    def has_state(self) -> bool:
        """Whether a run has created the tables."""
        return "sync_state" in self.tables


@dataclass(frozen=True)
class StateSummary:
    """Facts about a sync, from revetl's tables.

    State rows in destination state under the sync's mode: `held_rows` counts them, `uncertain` those with an
    unknown outcome, and `otherwise` those hashed with another fingerprint; `hash_by_before` and
    `fields_before` are the fingerprint and fields of one of those.

    `present` counts all state rows by presence. `unlabelled` counts rows of older versions without a
    presence, which are treated as `unlabelled_are`. `rejections` counts rejected records. `last_run` is the
    sync's newest run; `last_sent` and `last_mode` are the newest run that delivered anything, and its mode.
    `knows_run` is true if the last run known on this machine is in the state. `identity` is the writer and
    the destination of the state, as texts. `suppressed_kinds` are the identifier types in the suppression
    list, and `hashed_kinds` those with values that may be hashes.
    """

    has_state: bool = False
    held_rows: int = 0
    uncertain: int = 0
    otherwise: int = 0
    hash_by_before: str = ""
    fields_before: str | None = None
    rejections: int = 0
    last_run: str | None = None
    last_mode: str | None = None
    last_sent: str | None = None
    knows_run: bool = True
    identity: tuple[str, str] | None = None
    present: Mapping[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    unlabelled_are: str = MEMBER
    has_presence: bool = True
    suppressed_kinds: tuple[str, ...] = ()
    hashed_kinds: frozenset[str] = frozenset()
    tombstones: Mapping[str, str] = field(default_factory=dict)
    build: Build = Build()

    def holding_nobody(self) -> StateSummary:
        """Return a copy for an empty destination state."""
        return replace(
            self,
            has_state=False,
            held_rows=0,
            uncertain=0,
            otherwise=0,
            fields_before=None,
            rejections=0,
            present={},
            unlabelled=0,
        )


_STATE = """
    select 'state', {presence},
        max(case when row_hash is not null and :made_by <> :hash_by then hash_by || fields end),
        cast(null as timestamp), count(*), count(pending_operation),
        count(case when row_hash is not null and :made_by <> :hash_by then 1 end)
    from :table as s where s.sync = :sync {grouped}
"""
_WITHOUT_PRESENCE = _STATE.format(presence="cast(null as varchar)", grouped="")
_PARTS = {
    "state_version": """
        select 'version', v.revetl_version, cast(null as varchar), cast(null as timestamp), v.version, 0, 0
        from :table as v
    """,
    "sync_state": _STATE.format(presence="s.presence", grouped="group by s.presence"),
    "sync_identities": """
        select 'identity', i.written_by, i.delivered_to, cast(null as timestamp), 0, 0, 0
        from :table as i where i.sync = :sync
    """,
    "sync_rejections": """
        select 'rejections', cast(null as varchar), cast(null as varchar), cast(null as timestamp), count(*),
            0, 0
        from :table as r where r.sync = :sync
    """,
    "sync_runs": """
        select 'run', max(run_id),
            max(case when delivered_add + delivered_update + delivered_remove > 0
                then run_id || ' ' || mode end),
            cast(null as timestamp), count(*), count(case when run_id = :remembered then 1 end), 0
        from :table as r where r.sync = :sync
    """,
    "suppressions": """
        select 'suppressed', identifier_type, cast(null as varchar), cast(null as timestamp), count(*),
            count(case when length(trim(identifier_value)) in (64, 128) then 1 end), 0
        from :table as p group by identifier_type
    """,
    "privacy_tombstones": """
        select 'tombstone', t.identifier_type, t.salt, cast(null as timestamp), count(*), 0, 0
        from :table as t group by t.identifier_type, t.salt
    """,
    "model_builds": """
        select 'build', invocation_id, cast(null as varchar), completed_at,
            case when status <> 'success' then 1 else 0 end, 0, 0
        from :table as b where b.unique_id = :unique_id and :of_this_target
    """,
}
"""Each part returns its name, two texts, a timestamp, and three numbers."""
_READ = tuple(_PARTS)


def find_places(sync: Sync, warehouse: Warehouse, tables: StateTables) -> CatalogSummary:
    """Look up the audience and revetl's tables in the catalog."""
    audience, *found = warehouse.catalog([sync.audience.relation, *map(tables.named, _READ)])
    there = {name: columns for name, columns in zip(_READ, found, strict=True) if columns is not None}
    has_presence = "presence" in {name.lower() for name in there.get("sync_state", {"presence": ""})}
    has_targets = "target" in {name.lower() for name in there.get("model_builds", {"target": ""})}
    return CatalogSummary(audience, frozenset(there), has_presence, has_targets)


def read_facts(
    sync: Sync,
    warehouse: Warehouse,
    tables: StateTables,
    places: CatalogSummary,
    hash_by: str,
    presence: Presence,
    remembered: str | None = None,
    made_by: exp.Expr | None = None,
) -> StateSummary:
    """Read the facts from the tables that exist.

    `presence` is the one of the sync's mode, `remembered` the last run known on this machine, and `made_by`
    the expression for a state row's fingerprint if it is not `hash_by` itself. Raises UsageError if a newer
    version of revetl created the tables.
    """
    templates = {**_PARTS} if places.has_presence else {**_PARTS, "sync_state": _WITHOUT_PRESENCE}
    parts = [
        statement(
            templates[name],
            table=tables.named(name),
            sync=sync.name,
            hash_by=hash_by,
            made_by=column("hash_by") if made_by is None else made_by,
            unique_id=sync.audience.model.unique_id,
            of_this_target=tables.of_this_target("b") if places.has_targets else exp.true(),
            remembered=remembered or "",
        )
        for name in _READ
        if name in places.tables
    ]
    if not parts:
        return StateSummary(knows_run=remembered is None)
    query = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    found: dict[str, list[tuple[Any, ...]]] = {}
    for what, *rest in warehouse.rows(query):
        found.setdefault(what, []).append(tuple(rest))
    for version_of, _, _, version, *_ in found.get("version", []):
        tables.check(int(version), str(version_of))
    last_run, last_of, _, _, known, _ = found.get("run", [(None, None, None, 0, 0, 0)])[0]
    last_sent, _, last_mode = (None, None, None) if last_of is None else str(last_of).partition(" ")
    states = [
        _State(of, *_maker_and_fields(before), *map(int, counts))
        for of, before, _, *counts in found.get("state", [])
        if counts[0]
    ]
    unlabelled_are = written_by_mode(last_mode or sync.config.mode, presence, sync.config.mode)
    held = [each for each in states if (each.presence or unlabelled_are) in presence.held]
    present: dict[str, int] = {}
    for each in states:
        named = each.presence or unlabelled_are
        present[named] = present.get(named, 0) + each.rows
    builds = [
        Build(moment, invocation_id, bool(failed))
        for invocation_id, _, moment, failed, *_ in found.get("build", [])
    ]
    return StateSummary(
        has_state=places.has_state,
        held_rows=sum(each.rows for each in held),
        uncertain=sum(each.uncertain for each in held),
        otherwise=sum(each.otherwise for each in held),
        hash_by_before=next((each.hash_by for each in held if each.hash_by), ""),
        fields_before=next((each.fields for each in held if each.fields is not None), None),
        rejections=sum(int(count) for _, _, _, count, *_ in found.get("rejections", [])),
        last_run=last_run,
        last_mode=last_mode,
        last_sent=last_sent,
        # A recreated runs table has no runs; that does not mean that the state was restored.
        knows_run=remembered is None or int(known) > 0 or (last_run is None and bool(states)),
        identity=next(((str(by), str(to)) for by, to, *_ in found.get("identity", [])), None),
        present=present,
        unlabelled=sum(each.rows for each in states if each.presence is None),
        unlabelled_are=unlabelled_are,
        has_presence=places.has_presence,
        suppressed_kinds=tuple(sorted(str(kind) for kind, *_ in found.get("suppressed", []))),
        hashed_kinds=frozenset(
            str(kind) for kind, _, _, _, hashes, _ in found.get("suppressed", []) if int(hashes)
        ),
        tombstones={str(kind): str(salt) for kind, salt, *_ in found.get("tombstone", [])},
        build=max(builds, key=lambda each: each.built_at or datetime.min, default=Build()),
    )


def _maker_and_fields(text: str | None) -> tuple[str, str | None]:
    """Split a text into a row hash's fingerprint and the row's fields.

    Fingerprints have no braces, and the JSON of fields starts with one.
    """
    maker, brace, fields = str(text or "").partition("{")
    return maker, brace + fields if brace else None


@dataclass(frozen=True)
class _State:
    """State rows with the same presence."""

    presence: str | None
    hash_by: str
    fields: str | None
    rows: int
    uncertain: int
    otherwise: int
