"""Resolve privacy requests to every identifier of the person, by the identity graph.

Runs set-based SQL: the number of statements does not depend on the number of requests. The results are
temporary tables: `revetl_privacy_closure` (request_id, identifier_type, identifier_value, role) and
`revetl_privacy_invalid` (request_id, detail).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from revetl.identifiers.trimming import trimmed
from revetl.inspect.identity.find import known_types
from revetl.mapping.comparable import STANDARD_PATHS, IdentifierTypes, phone_spellings
from revetl.privacy.raw_identifiers import raw_identifiers, raw_tables
from revetl.privacy.requests import CANONICAL_ID, PROFILE, REQUESTED, SHARED, SPELLING, GivenIdentifier
from revetl.project.workspace import Workspace
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import query, statement, table

CLOSURE = table("revetl_privacy_closure")
INVALID = table("revetl_privacy_invalid")
_ATTEMPTS = table("revetl_privacy_attempts")
_FOUND = table("revetl_privacy_found")
_SHARED = table("revetl_privacy_shared")
_PROFILES = table("revetl_privacy_profiles")
_SPELLINGS = table("revetl_privacy_spellings")
_UNKNOWN = table("revetl_privacy_unknown")
_BATCH = 50_000
_GRAPH, _CONFLICTS, _MERGES = (
    "int_revetl__identity_graph",
    "revetl_identity_conflicts",
    "revetl_profile_merges",
)
NOBODY = "No profile, message or delivered record has this identifier."
SEVERAL = "The identifier belongs to several people: name its type, or use another identifier of the person."
SHARED_BY = (
    "The identifier is shared with other people: use another identifier of the person, or --follow to "
    "include everybody who shares it."
)


@dataclass(frozen=True)
class IdentityRelations:
    """The identity models of a project that are built."""

    graph: exp.Table | None = None
    conflicts: exp.Table | None = None
    merges: exp.Table | None = None
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, workspace: Workspace, warehouse: Warehouse) -> IdentityRelations:
        """Look up the models; all are None in a project without identity resolution."""
        relations = workspace.manifest.relations()
        names = [name for name in (_GRAPH, _CONFLICTS, _MERGES) if name in relations]
        there = warehouse.catalog([table(*relations[name]) for name in names]) if names else []
        found = {
            name: table(*relations[name])
            for name, columns in zip(names, there, strict=True)
            if columns is not None
        }
        if _GRAPH not in found:
            return cls()
        types = tuple(known_types(workspace, warehouse))
        return cls(found[_GRAPH], found.get(_CONFLICTS), found.get(_MERGES), types)


def resolve(
    workspace: Workspace,
    warehouse: Warehouse,
    tables: StateTables,
    asked: Sequence[tuple[str, GivenIdentifier]],
    *,
    follow: bool = False,
    region: str | None = None,
) -> None:
    """Resolve requests, as (ID, given identifier) pairs, into `revetl_privacy_closure` and
    `revetl_privacy_invalid`.

    With `follow`, include people who share an identifier.
    """
    types = IdentifierTypes.of(workspace)
    identity = IdentityRelations.of(workspace, warehouse)
    known = tuple(dict.fromkeys((*identity.types, "user_id", "anonymous_id", *STANDARD_PATHS)))
    _load_attempts(warehouse, types, known, asked)
    _find(warehouse, identity)
    _find_profiles(warehouse, identity, follow=follow)
    _find_unknown(workspace, warehouse, tables, types)
    _write_invalid(warehouse, follow=follow)
    _load_spellings(warehouse, types, identity, region)
    _write_closure(warehouse, identity, follow=follow)


def attempts_of(
    given: GivenIdentifier, types: IdentifierTypes, known: Sequence[str]
) -> Iterator[tuple[str | None, str]]:
    """Yield the possible readings of an identifier as (type, value), most literal first. The type is None for
    any type."""
    value, kind = given.value, given.type
    prefix, colon, rest = value.partition(":")
    if kind is None and colon and prefix.strip() in (*known, CANONICAL_ID):
        kind, value = prefix.strip(), rest
    elif kind is None:
        yield CANONICAL_ID, trimmed(value)
    if kind is not None:
        yield kind, value
        yield kind, types.comparable(kind, value)
        return
    for text in dict.fromkeys((value, trimmed(value), trimmed(value).lower())):
        yield None, text
    digits = types.comparable("phone", value)
    if digits.isdigit() and digits != value:
        yield "phone", digits


def guessed_type(given: GivenIdentifier, known: Sequence[str]) -> str:
    """Return the type of an identifier that is not in the identity graph: the named type, or a guess by
    format."""
    prefix, colon, _ = given.value.partition(":")
    if given.type is not None:
        return given.type
    if colon and prefix.strip() in known:
        return prefix.strip()
    return "email" if "@" in given.value else "user_id"


def _load_attempts(
    warehouse: Warehouse,
    types: IdentifierTypes,
    known: Sequence[str],
    asked: Sequence[tuple[str, GivenIdentifier]],
) -> None:
    columns: dict[str, list[object]] = {
        name: []
        for name in ("request_id", "attempt", "identifier_type", "identifier_value", "guessed", "comparable")
    }
    for request_id, given in asked:
        guessed = guessed_type(given, known)
        _, _, rest = given.value.partition(f"{guessed}:")
        comparable = types.comparable(guessed, rest or given.value)
        tries = dict.fromkeys(attempts_of(given, types, known))
        for number, (kind, value) in enumerate(tries):
            row = (request_id, number, kind, value, guessed, comparable)
            for name, each in zip(columns, row, strict=True):
                columns[name].append(each)
    kinds = {name: pa.int64() if name == "attempt" else pa.string() for name in columns}
    arrays = {name: pa.array(values, kinds[name]) for name, values in columns.items()}
    warehouse.load(_ATTEMPTS, pa.table(arrays))


def _find(warehouse: Warehouse, identity: IdentityRelations) -> None:
    """Find the identifiers in the graph that match each request, using the most literal reading that
    matches."""
    if identity.graph is None:
        warehouse.temporary(_FOUND, _nothing("request_id", "identifier_id", "canonical_id"))
        return
    warehouse.temporary(
        _FOUND,
        query(
            """
            with known as (
                select t.request_id, t.attempt, g.identifier_id, g.canonical_id
                from :attempts as t
                inner join :graph as g on g.identifier_value = t.identifier_value
                where t.identifier_type is null or t.identifier_type = g.identifier_type
                union all
                select t.request_id, t.attempt, g.identifier_id, g.canonical_id
                from :attempts as t
                inner join :graph as g on g.identifier_id = t.identifier_value
                where t.identifier_type = 'canonical_id'
            ),
            best as (select request_id, min(attempt) as attempt from known group by request_id)
            select distinct k.request_id, k.identifier_id, k.canonical_id
            from known as k
            inner join best as b on b.request_id = k.request_id and b.attempt = k.attempt
            """,
            attempts=_ATTEMPTS,
            graph=identity.graph,
        ),
    )


def _find_profiles(warehouse: Warehouse, identity: IdentityRelations, *, follow: bool) -> None:
    """Find the profiles of each request, and the identifiers that profiles share."""
    if identity.conflicts is None or not identity.types:
        warehouse.temporary(_SHARED, _nothing("identifier_id", "own_id", "other_id"))
    else:
        warehouse.temporary(
            _SHARED,
            query(
                """
                select distinct c.right_id as identifier_id, c.right_canonical_id as own_id,
                    c.left_canonical_id as other_id
                from :conflicts as c
                where c.reason = 'limit' and c.right_type <> :first
                """,
                conflicts=identity.conflicts,
                first=identity.types[0],
            ),
        )
    own = "select distinct f.request_id, f.canonical_id from :found as f"
    others = """
        union select f.request_id, s.other_id from :found as f
        inner join :shared as s on s.own_id = f.canonical_id
        union select f.request_id, s.own_id from :found as f
        inner join :shared as s on s.other_id = f.canonical_id
        union select f.request_id, t.other_id from :found as f
        inner join :shared as s on s.other_id = f.canonical_id
        inner join :shared as t on t.identifier_id = s.identifier_id
    """
    warehouse.temporary(_PROFILES, query(own + others if follow else own, found=_FOUND, shared=_SHARED))


def _find_unknown(
    workspace: Workspace, warehouse: Warehouse, tables: StateTables, types: IdentifierTypes
) -> None:
    """Find the requests that match no one in the graph, and whether a raw message or a delivered record has
    the identifier."""
    unknown = query(
        "select 1 from :attempts as t "
        "where not exists (select 1 from :found as f where f.request_id = t.request_id)",
        attempts=_ATTEMPTS,
        found=_FOUND,
    )
    if not warehouse.rows(unknown.limit(1)):
        # Skip the raw messages if possible: reading them is the slowest step by far.
        names = ("request_id", "identifier_type", "identifier_value")
        nothing = _nothing(*names).select(exp.alias_(exp.Literal.number(0), "is_known", quoted=True))
        warehouse.temporary(_UNKNOWN, nothing)
        return
    own: list[exp.Query] = []
    for name, (relation, columns) in raw_tables(warehouse, workspace.raw_schema).items():
        own += raw_identifiers(warehouse, types, name, relation, columns)
    held = held_identifiers(warehouse, tables, types)
    listed = [
        query(
            "select i.identifier_type, i.identifier_value from :identifiers as i", identifiers=each.subquery()
        )
        for each in (*own, *held)
    ]
    everywhere = union(listed) if listed else _nothing("identifier_type", "identifier_value")
    warehouse.temporary(
        _UNKNOWN,
        query(
            """
            with unknown as (
                select t.request_id, min(t.guessed) as identifier_type, min(t.comparable) as identifier_value
                from :attempts as t
                where not exists (select 1 from :found as f where f.request_id = t.request_id)
                group by t.request_id
            )
            select u.request_id, u.identifier_type, u.identifier_value,
                max(case when i.identifier_value is not null then 1 else 0 end) as is_known
            from unknown as u
            left join :everywhere as i
                on i.identifier_value = u.identifier_value
                and (i.identifier_type is null or i.identifier_type = u.identifier_type)
            group by u.request_id, u.identifier_type, u.identifier_value
            """,
            attempts=_ATTEMPTS,
            found=_FOUND,
            everywhere=everywhere.subquery(),
        ),
    )


_HELD = ("external_id", "email", "phone", "user_id", "userId", "anonymous_id", "anonymousId", "id")


def held_identifiers(warehouse: Warehouse, tables: StateTables, types: IdentifierTypes) -> list[exp.Query]:
    """Return queries of the identifiers in destination state: `identifier_type` (null for any) and
    `identifier_value`."""
    (there,) = warehouse.catalog([tables.state])
    if there is None:
        return []
    found = [
        query(
            "select cast(null as varchar) as identifier_type, s.key as identifier_value from :state as s",
            state=tables.state,
        )
    ]
    for name in _HELD:
        kind = {"userId": "user_id", "anonymousId": "anonymous_id"}.get(name, name)
        value = warehouse.json_text(exp.column("identifiers", table="s", quoted=True), name)
        found.append(
            query(
                "select :kind as identifier_type, :value as identifier_value from :state as s "
                "where s.identifiers like :pattern",
                kind=exp.cast(exp.null(), "varchar") if kind in ("id", "external_id") else exp.convert(kind),
                value=types.comparable_sql(kind, value),
                state=tables.state,
                pattern=f'%"{name}"%',
            )
        )
    return found


def _write_invalid(warehouse: Warehouse, *, follow: bool) -> None:
    warehouse.temporary(
        INVALID,
        query(
            """
            select u.request_id, :nobody as detail from :unknown as u where u.is_known = 0
            union all
            select f.request_id, :several as detail from :found as f
            group by f.request_id having count(distinct f.canonical_id) > 1
            union all
            select f.request_id, :shared_by as detail
            from :found as f
            inner join (select distinct s.identifier_id from :shared as s) as s
                on s.identifier_id = f.identifier_id
            where :unfollowed
            group by f.request_id having count(distinct f.canonical_id) = 1
            """,
            nobody=NOBODY,
            several=SEVERAL,
            shared_by=SHARED_BY,
            unknown=_UNKNOWN,
            found=_FOUND,
            shared=_SHARED,
            unfollowed=statement("1 = 0" if follow else "1 = 1"),
        ),
    )


def _load_spellings(
    warehouse: Warehouse, types: IdentifierTypes, identity: IdentityRelations, region: str | None
) -> None:
    """Load the other spellings of the closure's phone numbers, which need a library."""
    phones = [
        query(
            """
            select distinct u.identifier_type, u.identifier_value from :unknown as u
            where lower(u.identifier_type) like '%phone%' and u.is_known = 1
            """,
            unknown=_UNKNOWN,
        )
    ]
    if identity.graph is not None and any(types.is_phone(kind) for kind in identity.types):
        phones.append(
            query(
                """
                select distinct g.identifier_type, g.identifier_value
                from :graph as g
                inner join :profiles as p on p.canonical_id = g.canonical_id
                where lower(g.identifier_type) like '%phone%'
                """,
                graph=identity.graph,
                profiles=_PROFILES,
            )
        )
    rows: list[tuple[str, str, str]] = []
    for batch in warehouse.stream(union(phones), _BATCH):
        kinds, values = ([str(each) for each in batch.column(at).to_pylist()] for at in (0, 1))
        for kind, value in zip(kinds, values, strict=True):
            own = types.comparable(kind, value)
            rows += [(kind, value, other) for other in phone_spellings(value, region) if other != own]
    names = ("identifier_type", "identifier_value", "spelling")
    columns = [*zip(*rows, strict=True)] if rows else [(), (), ()]
    arrays = {name: pa.array(list(each), pa.string()) for name, each in zip(names, columns, strict=True)}
    warehouse.load(_SPELLINGS, pa.table(arrays))


_OF_GRAPH = """
    select p.request_id, g.identifier_type, g.identifier_value,
        case when f.identifier_id is not null then 'requested'
            when s.identifier_id is not null then :shared else 'profile' end as role
    from :profiles as p
    inner join :graph as g on g.canonical_id = p.canonical_id
    left join :found as f on f.request_id = p.request_id and f.identifier_id = g.identifier_id
    left join (select distinct h.identifier_id from :all_shared as h) as s
        on s.identifier_id = g.identifier_id
    union
    select p.request_id, 'canonical_id', p.canonical_id, 'profile' from :profiles as p
    union
    select p.request_id, g.identifier_type, g.identifier_value, 'shared'
    from :profiles as p
    inner join :all_shared as h on h.other_id = p.canonical_id
    inner join :graph as g on g.identifier_id = h.identifier_id
    where :unfollowed
"""


def _write_closure(warehouse: Warehouse, identity: IdentityRelations, *, follow: bool) -> None:
    parts = [
        "select u.request_id, u.identifier_type, u.identifier_value, 'requested' as role "
        "from :unknown as u where u.is_known = 1"
    ]
    if identity.graph is not None:
        parts.append(_OF_GRAPH)
    if identity.merges is not None:
        parts.append(
            "select p.request_id, 'canonical_id', m.loser_id, 'profile' from :profiles as p "
            "inner join :graph as g on g.canonical_id = p.canonical_id "
            "inner join :merges as m on m.loser_id = g.identifier_id"
        )
    all_parts = " union ".join(parts)
    warehouse.temporary(
        CLOSURE,
        query(
            f"""
            with resolved as ({all_parts}),
            valid as (
                select r.* from resolved as r
                where not exists (select 1 from :invalid as i where i.request_id = r.request_id)
            )
            select v.request_id, v.identifier_type, v.identifier_value, v.role from valid as v
            union
            select v.request_id, v.identifier_type, o.spelling, :spelling
            from valid as v
            inner join :spellings as o
                on o.identifier_type = v.identifier_type and o.identifier_value = v.identifier_value
            where v.role <> 'shared'
            """,  # noqa: S608  the parts are constants
            unknown=_UNKNOWN,
            profiles=_PROFILES,
            graph=identity.graph,
            merges=identity.merges,
            found=_FOUND,
            all_shared=_SHARED,
            shared=PROFILE if follow else SHARED,
            unfollowed=statement("1 = 0" if follow else "1 = 1"),
            invalid=INVALID,
            spellings=_SPELLINGS,
            spelling=SPELLING,
        ),
    )


def union(queries: Sequence[exp.Query]) -> exp.Query:
    """Combine queries into one, keeping duplicates."""
    return queries[0] if len(queries) == 1 else exp.union(*queries, distinct=False)


def _nothing(*names: str) -> exp.Select:
    columns = [exp.alias_(exp.cast(exp.null(), "varchar"), name, quoted=True) for name in names]
    return exp.select(*columns).where(statement("1 = 0"))


__all__ = ["CLOSURE", "INVALID", "REQUESTED", "IdentityRelations", "held_identifiers", "resolve", "union"]
