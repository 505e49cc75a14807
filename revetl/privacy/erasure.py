"""Erase people in the warehouse: raw messages, snapshots, sync tables, and messages that arrive later.

Each step is one or a few statements over all open requests, in the transaction that records it as done. After
an interruption, the next run repeats the steps that were not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
from sqlglot import exp

from revetl.ingest.raw_tables import REJECTED
from revetl.mapping.comparable import IdentifierTypes, salted_hash_sql
from revetl.privacy.closure import union
from revetl.privacy.raw_identifiers import raw_identifiers, raw_tables
from revetl.privacy.requests import LATE, REGULATION_TYPES
from revetl.project.workspace import Workspace
from revetl.sync.plan.suppressed import folded
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, query, statement, table

PEOPLE = table("revetl_privacy_people")
"""Identifiers of the requests with this place still open: request_id, identifier_type, identifier_value
(normalized)."""
_MESSAGES = table("revetl_privacy_messages")
_KEYS = table("revetl_privacy_keys")
_KEY_TYPES = table("revetl_privacy_key_types")
_LATE_MESSAGES = table("revetl_privacy_late_messages")
_LATE_IDENTIFIERS = table("revetl_privacy_late_identifiers")
_SIGHTINGS = "int_revetl__identity_sightings"
_RAW_OF = {
    "track": "tracks",
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}
_ROUNDS = 10
_HELD = ("external_id", "email", "phone", "user_id", "userId", "anonymous_id", "anonymousId", "id")
_STATE_TABLES = ("sync_state", "sync_rejections", "sync_intents", "sync_trials")
"""Sync tables with identifiers in addition to the key."""
_KEYED = (*_STATE_TABLES, "sync_changes", "audience_holdouts")


def load_people(
    warehouse: Warehouse,
    tables: StateTables,
    types: IdentifierTypes,
    place: str,
    *,
    regulations: Iterable[str] = REGULATION_TYPES,
    after_destinations: bool = False,
) -> int:
    """Load the identifiers of requests of some types with a place still open, and return the number of
    requests.

    With `after_destinations`, load only requests that are done at every destination.
    """
    waits = statement(
        "not exists (select 1 from :places as d where d.request_id = i.request_id "
        "and d.place like 'destination:%' and d.status in ('initialized', 'running', 'failed'))",
        places=tables.named("privacy_places"),
    )
    warehouse.temporary(
        PEOPLE,
        query(
            """
            select distinct i.request_id, i.identifier_type, :comparable as identifier_value
            from :identifiers as i
            inner join :places as p on p.request_id = i.request_id
            inner join :requests as r on r.request_id = i.request_id
            where :regulation and :waits and p.place = :place
            and p.status in ('initialized', 'running', 'failed')
            and i.role <> 'shared' and i.identifier_value is not null
            """,
            comparable=types.comparable_by_column(
                column("identifier_type", of="i"), column("identifier_value", of="i")
            ),
            identifiers=tables.named("privacy_identifiers"),
            places=tables.named("privacy_places"),
            requests=tables.named("privacy_requests"),
            place=place,
            regulation=exp.In(
                this=column("regulation_type", of="r"),
                expressions=[exp.convert(each) for each in sorted(regulations)],
            ),
            waits=waits if after_destinations else exp.true(),
        ),
    )
    counted = query("select count(distinct p.request_id) from :people as p", people=PEOPLE)
    return int(warehouse.rows(counted)[0][0])


def finish_place(
    warehouse: Warehouse,
    tables: StateTables,
    place: str,
    *,
    erased: exp.Query | None = None,
    status: str = "finished",
    detail: str | None = None,
) -> None:
    """Record a place as done for every request in `revetl_privacy_people`.

    `erased` is a query of the counts: request_id, erased.
    """
    counts = query("select cast(null as varchar) as request_id, 0 as erased") if erased is None else erased
    warehouse.run(
        statement(
            """
            merge into :places as p
            using (
                select q.request_id, coalesce(max(e.erased), 0) as erased
                from :people as q left join :counts as e on e.request_id = q.request_id
                group by q.request_id
            ) as n on p.request_id = n.request_id and p.place = :place
                and p.status in ('initialized', 'running', 'failed')
            when matched then update set status = :status, detail = cast(:detail as varchar),
                erased = coalesce(p.erased, 0) + n.erased, finished_at = cast(:now as timestamp)
            """,
            places=tables.named("privacy_places"),
            status=status,
            detail=detail,
            counts=counts.subquery(),
            now=leases.now() if status in ("finished", "not_supported") else None,
            place=place,
            people=PEOPLE,
        )
    )


def erase_raw(workspace: Workspace, warehouse: Warehouse, tables: StateTables, place: str) -> int:
    """Delete people's raw messages, and return the number deleted.

    Deletes messages that the last build linked to one of their identifiers, and messages with one of them in
    a column or a standard trait.
    """
    types = IdentifierTypes.of(workspace)
    raw = raw_tables(warehouse, workspace.raw_schema)
    own: list[exp.Query] = []
    for name, (relation, columns) in raw.items():
        own += raw_identifiers(warehouse, types, name, relation, columns)
    found = []
    if own:
        found.append(
            query(
                """
                select p.request_id, r.raw_table, r.message_id
                from :raw as r
                inner join :people as p
                    on p.identifier_type = r.identifier_type and p.identifier_value = r.identifier_value
                """,
                raw=union(own).subquery(),
                people=PEOPLE,
            )
        )
    found += _sighted(workspace, warehouse, types)
    if not found:
        finish_place(warehouse, tables, place, detail="there are no raw tables")
        return 0
    warehouse.temporary(
        _MESSAGES,
        query(
            "select min(f.request_id) as request_id, f.raw_table, f.message_id from :found as f "
            "group by f.raw_table, f.message_id",
            found=union(found).subquery(),
        ),
    )
    counts = query("select m.request_id, count(*) as erased from :found as m group by 1", found=_MESSAGES)
    with warehouse.transaction():
        _delete_messages(warehouse, raw, _MESSAGES)
        _erase_rejected(workspace, warehouse)
        finish_place(warehouse, tables, place, erased=counts)
    return int(warehouse.rows(query("select count(*) from :found as m", found=_MESSAGES))[0][0])


def _delete_messages(
    warehouse: Warehouse, raw: Mapping[str, tuple[exp.Table, dict[str, str]]], messages: exp.Table
) -> None:
    for name, (relation, _) in raw.items():
        warehouse.run(
            statement(
                "delete from :relation where id in "
                "(select m.message_id from :messages as m where m.raw_table = :name)",
                relation=relation,
                messages=messages,
                name=name,
            )
        )


def _sighted(workspace: Workspace, warehouse: Warehouse, types: IdentifierTypes) -> list[exp.Query]:
    """Query the messages that identity resolution linked to the people."""
    relations = workspace.manifest.relations()
    if _SIGHTINGS not in relations:
        return []
    sightings = table(*relations[_SIGHTINGS])
    if not warehouse.exists(sightings):
        return []
    name = exp.Case(
        this=column("source", of="s"),
        ifs=[exp.If(this=exp.convert(call), true=exp.convert(raw)) for call, raw in _RAW_OF.items()],
    )
    return [
        query(
            f"""
            select p.request_id, :name as raw_table, s.message_id
            from :sightings as s
            inner join :people as p
                on p.identifier_type = s.{side}_type and p.identifier_value = :value
            where :name is not null
            """,  # noqa: S608  left and right
            name=name.copy(),
            sightings=sightings,
            people=PEOPLE,
            value=types.comparable_by_column(column(f"{side}_type", of="s"), column(f"{side}_value", of="s")),
        )
        for side in ("left", "right")
    ]


def _erase_rejected(workspace: Workspace, warehouse: Warehouse) -> None:
    """Delete rejected lines that contain an identifier as a JSON string or between separators."""
    relation = table(REJECTED, workspace.raw_schema, warehouse.database)
    if not warehouse.exists(relation) or not warehouse.rows(exp.select("1").from_(relation).limit(1)):
        return
    warehouse.run(
        statement(
            """
            delete from :relation where exists (
                select 1 from :people as p
                where p.identifier_type <> 'canonical_id' and (
                    :text like '%"' || lower(p.identifier_value) || '"%'
                    or ',' || :text || ',' like '%,' || lower(p.identifier_value) || ',%'
                    or (length(p.identifier_value) > 5 and :text like '%' || lower(p.identifier_value) || '%')
                )
            )
            """,
            relation=relation,
            people=PEOPLE,
            text=exp.func("lower", exp.column("text", table=REJECTED, quoted=True)),
        )
    )


def erase_snapshots(workspace: Workspace, warehouse: Warehouse, tables: StateTables, place: str) -> int:
    """Delete the people's rows from every dbt snapshot with a column of one of their identifier types."""
    relations = [
        table(str(node.get("alias") or node["name"]), str(node["schema"]), node.get("database"))
        for node in workspace.manifest.graph().values()
        if node["resource_type"] == "snapshot"
    ]
    there = warehouse.catalog(relations) if relations else []
    types, erased = IdentifierTypes.of(workspace), 0
    kinds = _kinds(warehouse)
    with warehouse.transaction():
        for relation, columns in zip(relations, there, strict=True):
            erased += _delete_rows(warehouse, types, relation, columns, kinds)
        finish_place(warehouse, tables, place)
    return erased


def _kinds(warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.rows(query("select distinct p.identifier_type from :people as p", people=PEOPLE))
    return {folded(str(kind)): str(kind) for (kind,) in rows}


def _delete_rows(
    warehouse: Warehouse,
    types: IdentifierTypes,
    relation: exp.Table,
    columns: Mapping[str, str] | None,
    kinds: Mapping[str, str],
) -> int:
    tests = [
        _is_of_people(types, kinds[folded(name)], column(name))
        for name in columns or ()
        if folded(name) in kinds
    ]
    if not tests:
        return 0
    test = exp.or_(*tests)
    counted = exp.select("count(*)").from_(relation).where(test.copy())
    count = int(warehouse.rows(counted)[0][0])
    if count:
        warehouse.run(exp.Delete(this=relation.copy(), where=exp.Where(this=test)))
    return count


def _is_of_people(types: IdentifierTypes, kind: str, value: exp.Expr) -> exp.Expr:
    return statement(
        ":value in (select p.identifier_value from :people as p where p.identifier_type = :kind)",
        value=types.comparable_sql(kind, exp.cast(value, "varchar")),
        people=PEOPLE,
        kind=kind,
    )


def _pair_is_of_people(types: IdentifierTypes, kind: exp.Expr, value: exp.Expr) -> exp.Expr:
    return statement(
        ":kind || ':' || :value in (select p.identifier_type || ':' || p.identifier_value from :people as p)",
        kind=kind,
        value=types.comparable_by_column(kind.copy(), value),
        people=PEOPLE,
    )


def held_by_key(
    warehouse: Warehouse, types: IdentifierTypes, relation: exp.Table, *, only: exp.Expr | None = None
) -> exp.Query:
    """Query the normalized identifiers in a sync table: `sync`, `key`, `identifier_type` (null for any),
    `identifier_value`.

    `only` is a condition on its rows `s`.
    """
    wanted = exp.true() if only is None else only
    parts: list[exp.Query] = []
    for name in _HELD:
        kind = {"userId": "user_id", "anonymousId": "anonymous_id"}.get(name, name)
        value = warehouse.json_text(column("identifiers", of="s"), name)
        typed = exp.cast(exp.null(), "varchar") if kind in ("id", "external_id") else exp.convert(kind)
        parts.append(
            query(
                "select s.sync, s.key, :kind as identifier_type, :value as identifier_value "
                "from :relation as s where s.identifiers like :pattern and :wanted",
                kind=typed,
                value=types.comparable_sql(kind, value),
                relation=relation,
                pattern=f'%"{name}"%',
                wanted=wanted.copy(),
            )
        )
    parts.append(
        query(
            "select s.sync, s.key, k.key_type as identifier_type, s.key as identifier_value "
            "from :relation as s left join :key_types as k on s.sync like k.audience || '.%' "
            "where :wanted",
            relation=relation,
            key_types=_KEY_TYPES,
            wanted=wanted.copy(),
        )
    )
    return union(parts)


def load_key_types(workspace: Workspace, warehouse: Warehouse) -> None:
    """Load the identifier type of each audience's key."""
    audiences = workspace.audiences()
    warehouse.load(
        _KEY_TYPES,
        pa.table(
            {
                "audience": pa.array([each.name for each in audiences], pa.string()),
                "key_type": pa.array([each.key.lower() for each in audiences], pa.string()),
            }
        ),
    )


def erase_state(workspace: Workspace, warehouse: Warehouse, tables: StateTables, place: str) -> int:
    """Delete the people's rows from the sync tables. Returns the number of `sync_state` rows."""
    types = IdentifierTypes.of(workspace)
    load_key_types(workspace, warehouse)
    found = [
        query(
            """
            select p.request_id, h.sync, h.key
            from :held as h
            inner join :people as p
                on p.identifier_value = h.identifier_value
                and (h.identifier_type is null or h.identifier_type = p.identifier_type)
            """,
            held=held_by_key(warehouse, types, tables.named(name)).subquery(),
            people=PEOPLE,
        )
        for name in _STATE_TABLES
    ]
    found += [
        query(
            """
            select p.request_id, s.sync, s.key
            from :relation as s
            left join :key_types as k on s.sync like k.audience || '.%'
            inner join :people as p
                on p.identifier_value = s.key
                and (k.key_type is null or k.key_type = p.identifier_type)
            """,
            relation=tables.named(name),
            key_types=_KEY_TYPES,
            people=PEOPLE,
        )
        for name in ("sync_changes", "audience_holdouts")
    ]
    warehouse.temporary(
        _KEYS,
        query(
            "select min(f.request_id) as request_id, f.sync, f.key from :found as f group by f.sync, f.key",
            found=union(found).subquery(),
        ),
    )
    counts = query(
        "select k.request_id, count(*) as erased from :keys as k group by k.request_id", keys=_KEYS
    )
    with warehouse.transaction():
        for name in _KEYED:
            warehouse.run(
                statement(
                    "delete from :relation where sync || ':' || key in "
                    "(select k.sync || ':' || k.key from :keys as k)",
                    relation=tables.named(name),
                    keys=_KEYS,
                )
            )
        warehouse.run(
            statement(
                """
                delete from :relation where key in (
                    select p.identifier_value from :people as p
                ) and audience || ':' || key in (
                    select k.audience || ':' || p.identifier_value
                    from :people as p inner join :key_types as k on k.key_type = p.identifier_type
                )
                """,
                relation=tables.named("audience_changes"),
                people=PEOPLE,
                key_types=_KEY_TYPES,
            )
        )
        finish_place(warehouse, tables, place, erased=counts)
    return int(warehouse.rows(query("select count(*) from :keys as k", keys=_KEYS))[0][0])


def left_in_models(workspace: Workspace, warehouse: Warehouse) -> dict[str, int]:
    """Count the rows, by model, that still contain an identifier of the people."""
    nodes = [
        node
        for node in workspace.manifest.graph().values()
        if node["resource_type"] in ("model", "snapshot")
        and node["config"].get("materialized") not in ("view", "ephemeral", "revetl_view")
    ]
    relations = [
        table(str(node.get("alias") or node["name"]), str(node["schema"]), node.get("database"))
        for node in nodes
    ]
    there = warehouse.catalog(relations) if relations else []
    types, kinds = IdentifierTypes.of(workspace), _kinds(warehouse)
    counts: list[exp.Query] = []
    for node, relation, columns in zip(nodes, relations, there, strict=True):
        tests = [
            _is_of_people(types, kinds[folded(name)], column(name))
            for name in columns or ()
            if folded(name) in kinds
        ]
        names = {name.lower() for name in columns or ()}
        tests += [
            _pair_is_of_people(types, column(f"{prefix}_type"), column(f"{prefix}_value"))
            for prefix in ("identifier", "left", "right")
            if {f"{prefix}_type", f"{prefix}_value"} <= names
        ]
        if tests:
            counts.append(
                query(
                    "select :name as name, count(*) as found from :relation as r where :test",
                    name=str(node["name"]),
                    relation=relation,
                    test=exp.or_(*tests),
                )
            )
    if not counts:
        return {}
    rows = warehouse.rows(union(counts))
    return {str(name): int(found) for name, found in rows if int(found)}


def erase_late(workspace: Workspace, warehouse: Warehouse, tables: StateTables) -> int:
    """Delete raw messages that arrived later for erased and suppressed people, and return the number deleted.

    Identifiers that occur only in these messages are suppressed too.
    """
    tombstones = tables.named("privacy_tombstones")
    rows = warehouse.rows(
        query("select min(t.salt) from :tombstones as t where t.erases = 1", tombstones=tombstones)
    )
    salt = rows[0][0] if rows else None
    raw = raw_tables(warehouse, workspace.raw_schema)
    if salt is None or not raw:
        return 0
    types, erased = IdentifierTypes.of(workspace), 0
    for _ in range(_ROUNDS):
        found = _erase_late_once(warehouse, tables, types, raw, str(salt))
        erased += found
        if not found:
            break
    return erased


def _erase_late_once(
    warehouse: Warehouse,
    tables: StateTables,
    types: IdentifierTypes,
    raw: Mapping[str, tuple[exp.Table, dict[str, str]]],
    salt: str,
) -> int:
    own: list[exp.Query] = []
    for name, (relation, columns) in raw.items():
        own += raw_identifiers(warehouse, types, name, relation, columns)
    identifiers = union(own)
    hashed = salted_hash_sql(salt, column("identifier_type", of="r"), column("identifier_value", of="r"))
    warehouse.temporary(
        _LATE_MESSAGES,
        query(
            """
            select min(t.request_id) as request_id, r.raw_table, r.message_id
            from :raw as r
            inner join :tombstones as t on t.identifier_hash = :hashed
            where t.erases = 1
            group by r.raw_table, r.message_id
            """,
            raw=identifiers.subquery(),
            tombstones=tables.named("privacy_tombstones"),
            hashed=hashed,
        ),
    )
    ((count,),) = warehouse.rows(query("select count(*) from :late as l", late=_LATE_MESSAGES))
    if not count:
        return 0
    # An identifier that also occurs in other messages may belong to someone else.
    warehouse.temporary(
        _LATE_IDENTIFIERS,
        query(
            """
            with seen as (
                select r.identifier_type, r.identifier_value, l.request_id
                from :raw as r
                left join :late as l on l.raw_table = r.raw_table and l.message_id = r.message_id
                where r.identifier_value <> ''
            )
            select s.identifier_type, s.identifier_value, min(s.request_id) as request_id
            from seen as s
            group by s.identifier_type, s.identifier_value
            having count(*) = count(s.request_id)
            """,
            raw=identifiers.copy().subquery(),
            late=_LATE_MESSAGES,
        ),
    )
    parts = {
        "tombstones": tables.named("privacy_tombstones"),
        "identifiers": tables.named("privacy_identifiers"),
        "late": _LATE_IDENTIFIERS,
        "hashed": salted_hash_sql(
            salt, column("identifier_type", of="l"), column("identifier_value", of="l")
        ),
        "salt": salt,
        "role": LATE,
        "now": leases.now(),
    }
    with warehouse.transaction():
        warehouse.run(
            statement(
                """
                insert into :identifiers (request_id, identifier_type, identifier_hash, role)
                select l.request_id, l.identifier_type, :hashed, :role from :late as l
                where :hashed not in (select t.identifier_hash from :tombstones as t)
                """,
                **parts,
            )
        )
        warehouse.run(
            statement(
                """
                insert into :tombstones (
                    request_id, identifier_type, identifier_hash, salt, erases, suppressed_at
                )
                select l.request_id, l.identifier_type, :hashed, :salt, 1, :now from :late as l
                where :hashed not in (select t.identifier_hash from :tombstones as t)
                """,
                **parts,
            )
        )
        _delete_messages(warehouse, raw, _LATE_MESSAGES)
    return int(count)


def unresolved(names: Sequence[str]) -> str:
    """Return the message about models that still have rows of the people."""
    return f"rows are left in {', '.join(names)}: run `dbt build --full-refresh --select {' '.join(names)}`"
