"""Create, list and show privacy requests in the state schema."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlglot import exp

from revetl.errors import UsageError, nearest
from revetl.mapping.comparable import IdentifierTypes, salted_hash, salted_hash_sql
from revetl.privacy.closure import CLOSURE, INVALID, resolve
from revetl.privacy.places import DESTINATION, Place, places_of
from revetl.privacy.requests import (
    CANONICAL_ID,
    DEADLINE,
    DELETE_ONLY,
    ERASING,
    FINISHED,
    INITIALIZED,
    OPEN,
    REGULATION_TYPES,
    SHARED,
    SUPPRESSING,
    UNSUPPRESS,
    GivenIdentifier,
    PlaceStatus,
    PrivacyRequest,
    ResolvedIdentifier,
)
from revetl.project.workspace import Workspace
from revetl.sync.state import leases
from revetl.sync.state.run_ids import beginning
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, query, statement, table

_REQUESTS = table("revetl_privacy_new_requests")
_SHOWN = 1_000
REASON = "privacy request"
"""The `suppressions` reason for identifiers of open requests."""


@dataclass(frozen=True)
class RequestOptions:
    """Options of a request. `due_in` is the time until its deadline."""

    regulation_type: str = DELETE_ONLY
    requested_by: str | None = None
    reason: str | None = None
    follow: bool = False
    due_in: timedelta = DEADLINE
    phone_region: str | None = None
    batch_id: str | None = None

    def __post_init__(self) -> None:
        if self.regulation_type not in REGULATION_TYPES:
            raise UsageError(
                f"'{self.regulation_type}' is not a type of request. "
                f"{nearest(self.regulation_type, REGULATION_TYPES, all_of_them=True)}"
            )


@dataclass(frozen=True)
class RequestBatch:
    """Requests created together, and the places that they cover.

    With `dry_run`, nothing was stored. For a large batch, `requests` has only the first ones; `valid` and
    `invalid` count all of them.
    """

    batch_id: str
    regulation_type: str
    requests: tuple[PrivacyRequest, ...]
    valid: int
    invalid: int
    places: tuple[Place, ...]
    dry_run: bool = False


def make_requests(
    workspace: Workspace,
    identifiers: Sequence[GivenIdentifier],
    options: RequestOptions,
    *,
    dry_run: bool = False,
) -> RequestBatch:
    """Resolve identifiers and create a request for each, which suppresses the people immediately.

    Raises UsageError without identifiers, and WarehouseError if the warehouse is unavailable.
    """
    given = [each for each in identifiers if each.value.strip()]
    if not given:
        raise UsageError("No identifier was given. Name one, or use --file or --table.")
    batch_id = options.batch_id or f"{beginning(leases.now())}{secrets.token_hex(4)}"
    width = len(str(len(given)))
    asked = [(f"{batch_id}-{number:0{width}}", each) for number, each in enumerate(given, 1)]
    if dry_run:
        warehouse = workspace.warehouse(read_only=True)
        try:
            return _requests(workspace, warehouse, asked, batch_id, options, dry_run=True)
        finally:
            warehouse.close()
    with workspace.writing() as warehouse:
        state_tables(workspace, warehouse.database).create(warehouse, workspace.say)
        return _requests(workspace, warehouse, asked, batch_id, options, dry_run=False)


def _requests(
    workspace: Workspace,
    warehouse: Warehouse,
    asked: Sequence[tuple[str, GivenIdentifier]],
    batch_id: str,
    options: RequestOptions,
    *,
    dry_run: bool,
) -> RequestBatch:
    tables = state_tables(workspace, warehouse.database)
    if options.regulation_type == UNSUPPRESS:
        return _unsuppress(workspace, warehouse, tables, asked, batch_id, options, dry_run=dry_run)
    resolve(workspace, warehouse, tables, asked, follow=options.follow, region=options.phone_region)
    places = places_of(workspace, options.regulation_type)
    if not dry_run:
        _load_requests(warehouse, asked)
        with warehouse.transaction():
            _store(warehouse, tables, workspace, batch_id, options, places)
    now = leases.now()
    invalid = dict(warehouse.rows(query("select i.request_id, i.detail from :invalid as i", invalid=INVALID)))
    shown = [request_id for request_id, _ in asked[:_SHOWN]]
    found = warehouse.rows(
        query(
            """
            select c.request_id, c.identifier_type, c.identifier_value, c.role
            from :closure as c where :shown
            order by c.request_id, c.role desc, c.identifier_type, c.identifier_value
            """,
            closure=CLOSURE,
            shown=exp.In(
                this=column("request_id", of="c"), expressions=[exp.convert(each) for each in shown]
            ),
        )
    )
    requests = []
    for request_id, _ in asked[:_SHOWN]:
        own = [ResolvedIdentifier(kind, value, role) for of, kind, value, role in found if of == request_id]
        requests.append(
            PrivacyRequest(
                request_id,
                batch_id,
                options.regulation_type,
                "invalid" if request_id in invalid else INITIALIZED,
                invalid.get(request_id),
                options.requested_by,
                options.reason,
                now,
                now + options.due_in,
                identifiers=tuple(own),
                places=tuple(
                    PlaceStatus(place.name, INITIALIZED, place.detail)
                    for place in places
                    if request_id not in invalid
                ),
            )
        )
    return RequestBatch(
        batch_id,
        options.regulation_type,
        tuple(requests),
        len(asked) - len(invalid),
        len(invalid),
        places,
        dry_run,
    )


def _load_requests(warehouse: Warehouse, asked: Sequence[tuple[str, GivenIdentifier]]) -> None:
    import pyarrow as pa

    warehouse.load(
        _REQUESTS,
        pa.table(
            {
                "request_id": pa.array([request_id for request_id, _ in asked], pa.string()),
                "identifier_type": pa.array([each.type for _, each in asked], pa.string()),
                "identifier_value": pa.array([each.value for _, each in asked], pa.string()),
            }
        ),
    )


def _store(
    warehouse: Warehouse,
    tables: StateTables,
    workspace: Workspace,
    batch_id: str,
    options: RequestOptions,
    places: Sequence[Place],
) -> None:
    """Store the requests with their resolved identifiers, and suppress the people."""
    now = leases.now()
    salt = salt_of(warehouse, tables)
    types = IdentifierTypes.of(workspace)
    parts: dict[str, Any] = {
        "requests": tables.named("privacy_requests"),
        "identifiers": tables.named("privacy_identifiers"),
        "places": tables.named("privacy_places"),
        "tombstones": tables.named("privacy_tombstones"),
        "suppressions": tables.suppressions,
        "new": _REQUESTS,
        "closure": CLOSURE,
        "invalid": INVALID,
        "batch_id": batch_id,
        "kind": options.regulation_type,
        "by": options.requested_by,
        "why": options.reason,
        "follow": int(options.follow),
        "now": now,
        "due": now + options.due_in,
        "salt": salt,
    }
    comparable = types.comparable_by_column(
        column("identifier_type", of="c"), column("identifier_value", of="c")
    )
    digest = salted_hash_sql(salt, column("identifier_type", of="c"), comparable)
    warehouse.run(
        statement(
            """
            insert into :requests (
                request_id, batch_id, regulation_type, identifier_type, identifier_value, requested_by,
                reason, follow, status, detail, requested_at, due_at, finished_at
            )
            select n.request_id, :batch_id, :kind, n.identifier_type,
                case when i.request_id is null then n.identifier_value end,
                cast(:by as varchar), cast(:why as varchar), :follow,
                case when i.request_id is null then 'initialized' else 'invalid' end, i.detail, :now, :due,
                case when i.request_id is not null then :now end
            from :new as n left join :invalid as i on i.request_id = n.request_id
            """,
            **parts,
        )
    )
    warehouse.run(
        statement(
            """
            insert into :identifiers (request_id, identifier_type, identifier_value, identifier_hash, role)
            select c.request_id, c.identifier_type, c.identifier_value, :digest, c.role from :closure as c
            """,
            **parts,
            digest=digest,
        )
    )
    for place in places:
        warehouse.run(
            statement(
                """
                insert into :places (request_id, place, status, detail, erased)
                select r.request_id, :place, 'initialized', cast(:detail as varchar), 0
                from :requests as r where r.batch_id = :batch_id and r.status = 'initialized'
                """,
                **parts,
                place=place.name,
                detail=place.detail,
            )
        )
    if options.regulation_type in SUPPRESSING:
        warehouse.run(
            statement(
                """
                insert into :tombstones (
                    request_id, identifier_type, identifier_hash, salt, erases, suppressed_at
                )
                select distinct c.request_id, c.identifier_type, :digest, :salt, :erases, :now
                from :closure as c where c.role <> 'shared'
                """,
                **parts,
                digest=digest,
                erases=int(options.regulation_type in ERASING),
            )
        )
    if any(place.name.startswith(DESTINATION) for place in places):
        suppress_open(warehouse, tables)


def suppress_open(warehouse: Warehouse, tables: StateTables) -> None:
    """Add the identifiers of open requests to the suppression list, and remove those of finished requests."""
    listed = """
        select distinct i.identifier_type, i.identifier_value
        from :identifiers as i inner join :requests as r on r.request_id = i.request_id
        where r.status in ('initialized', 'running', 'failed') and i.role <> 'shared'
        and i.identifier_value is not null and r.regulation_type in (
            'SUPPRESS_ONLY', 'SUPPRESS_WITH_DELETE', 'DELETE_ONLY'
        )
    """
    parts = {
        "list": tables.suppressions,
        "identifiers": tables.named("privacy_identifiers"),
        "requests": tables.named("privacy_requests"),
        "reason": REASON,
        "now": leases.now(),
    }
    listed_rows = query(listed, **parts)
    warehouse.run(
        statement(
            """
            delete from :list where reason = :reason
            and identifier_type || ':' || identifier_value not in (
                select l.identifier_type || ':' || l.identifier_value from :listed as l
            )
            """,
            **parts,
            listed=listed_rows.subquery(),
        )
    )
    warehouse.run(
        statement(
            """
            insert into :list (identifier_type, identifier_value, reason, suppressed_at)
            select l.identifier_type, l.identifier_value, :reason, :now
            from :listed as l
            where not exists (
                select 1 from :list as s where s.reason = :reason
                and s.identifier_type = l.identifier_type and s.identifier_value = l.identifier_value
            )
            """,
            **parts,
            listed=listed_rows.copy().subquery(),
        )
    )


def salt_of(warehouse: Warehouse, tables: StateTables) -> str:
    """Return the salt of the project's hashes: the tombstones' salt, or a new one."""
    rows = warehouse.rows(
        query("select min(t.salt) from :tombstones as t", tombstones=tables.named("privacy_tombstones"))
    )
    return str(rows[0][0]) if rows and rows[0][0] else secrets.token_hex(16)


def _unsuppress(
    workspace: Workspace,
    warehouse: Warehouse,
    tables: StateTables,
    asked: Sequence[tuple[str, GivenIdentifier]],
    batch_id: str,
    options: RequestOptions,
    *,
    dry_run: bool,
) -> RequestBatch:
    """Lift the suppression of people, by the tombstones of every request that suppressed the identifier."""
    from revetl.mapping.comparable import STANDARD_PATHS
    from revetl.privacy.closure import guessed_type

    salt, types = salt_of(warehouse, tables), IdentifierTypes.of(workspace)
    known = ("user_id", "anonymous_id", CANONICAL_ID, *STANDARD_PATHS, *types.lower)
    (there,) = warehouse.catalog([tables.named("privacy_tombstones")])
    now, requests, lifted = leases.now(), [], 0
    for request_id, given in asked:
        kind = guessed_type(given, known)
        value = given.value.partition(f"{kind}:")[2] or given.value
        digest = salted_hash(salt, kind, types.comparable(kind, value))
        rows = (
            []
            if there is None
            else warehouse.rows(
                query(
                    "select distinct t.request_id from :tombstones as t "
                    "where t.identifier_type = :kind and t.identifier_hash = :digest",
                    tombstones=tables.named("privacy_tombstones"),
                    kind=kind,
                    digest=digest,
                )
            )
        )
        suppressing = [str(each) for (each,) in rows]
        lifted += bool(suppressing)
        made = PrivacyRequest(
            request_id,
            batch_id,
            UNSUPPRESS,
            FINISHED if suppressing else "invalid",
            None if suppressing else "Nobody is suppressed by this identifier.",
            options.requested_by,
            options.reason,
            now,
            now + options.due_in,
            now,
        )
        requests.append(made)
        if dry_run:
            continue
        with warehouse.transaction():
            if suppressing:
                _lift(warehouse, tables, suppressing)
            _write_finished(warehouse, tables, made, digest)
    if not dry_run:
        suppress_open(warehouse, tables)
    return RequestBatch(batch_id, UNSUPPRESS, tuple(requests), lifted, len(asked) - lifted, (), dry_run)


def _lift(warehouse: Warehouse, tables: StateTables, requests: Sequence[str]) -> None:
    among = exp.In(this=column("request_id"), expressions=[exp.convert(each) for each in requests])
    warehouse.run(
        statement("delete from :table where :among", table=tables.named("privacy_tombstones"), among=among)
    )
    # Also finish suppression requests that are still open.
    warehouse.run(
        statement(
            "update :table set status = 'finished', finished_at = :now, "
            "detail = 'unsuppressed', identifier_value = null "
            "where :among and regulation_type = 'SUPPRESS_ONLY' "
            "and status in ('initialized', 'running', 'failed')",
            table=tables.named("privacy_requests"),
            among=among.copy(),
            now=leases.now(),
        )
    )


def _write_finished(warehouse: Warehouse, tables: StateTables, made: PrivacyRequest, digest: str) -> None:
    warehouse.run(
        statement(
            """
            insert into :requests (
                request_id, batch_id, regulation_type, identifier_hash, requested_by, reason, follow, status,
                detail, requested_at, due_at, finished_at
            )
            select :request_id, :batch_id, :kind, :digest, cast(:by as varchar), cast(:why as varchar), 0,
                :status, cast(:detail as varchar), :now, :due, :now
            """,
            requests=tables.named("privacy_requests"),
            request_id=made.request_id,
            batch_id=made.batch_id,
            kind=made.regulation_type,
            digest=digest,
            by=made.requested_by,
            why=made.reason,
            status=made.status,
            detail=made.detail,
            now=made.requested_at,
            due=made.due_at,
        )
    )


def list_requests(
    workspace: Workspace, *, open_only: bool = False, batch_id: str | None = None, limit: int = 100
) -> list[PrivacyRequest]:
    """Return the newest requests, without identifiers and places."""
    return _read(workspace, open_only=open_only, batch_id=batch_id, limit=limit)


def show_request(workspace: Workspace, request_id: str) -> PrivacyRequest:
    """Return a request with its places and, until it is finished, its identifiers.

    Raises UsageError for an unknown ID.
    """
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        (there,) = warehouse.catalog([tables.named("privacy_requests")])
        found = [] if there is None else _rows(warehouse, tables, request_id=request_id, limit=2)
        if not found:
            raise UsageError(
                f"There is no privacy request '{request_id}'. `revetl privacy list` shows all requests."
            )
        identifiers = warehouse.rows(
            query(
                """
                select i.identifier_type, i.identifier_value, i.role from :identifiers as i
                where i.request_id = :request_id and i.identifier_value is not null
                order by i.role desc, i.identifier_type, i.identifier_value
                """,
                identifiers=tables.named("privacy_identifiers"),
                request_id=request_id,
            )
        )
        places = warehouse.rows(
            query(
                """
                select p.place, p.status, p.detail, p.erased, p.finished_at from :places as p
                where p.request_id = :request_id order by p.place
                """,
                places=tables.named("privacy_places"),
                request_id=request_id,
            )
        )
        return replace(
            found[0],
            identifiers=tuple(ResolvedIdentifier(*map(str, row)) for row in identifiers),
            places=tuple(
                PlaceStatus(str(name), str(status), detail, int(erased or 0), ended)
                for name, status, detail, erased, ended in places
            ),
        )
    finally:
        warehouse.close()


def _read(workspace: Workspace, *, open_only: bool, batch_id: str | None, limit: int) -> list[PrivacyRequest]:
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        (there,) = warehouse.catalog([tables.named("privacy_requests")])
        if there is None:
            return []
        return _rows(warehouse, tables, open_only=open_only, batch_id=batch_id, limit=limit)
    finally:
        warehouse.close()


def _rows(
    warehouse: Warehouse,
    tables: StateTables,
    *,
    open_only: bool = False,
    batch_id: str | None = None,
    request_id: str | None = None,
    limit: int,
) -> list[PrivacyRequest]:
    select = query(
        """
        select r.request_id, r.batch_id, r.regulation_type, r.status, r.detail, r.requested_by, r.reason,
            r.requested_at, r.due_at, r.finished_at
        from :requests as r order by r.requested_at desc, r.request_id
        """,
        requests=tables.named("privacy_requests"),
    )
    assert isinstance(select, exp.Select)
    if open_only:
        select = select.where(column("status", of="r").isin(*OPEN))
    if batch_id is not None:
        select = select.where(column("batch_id", of="r").eq(exp.convert(batch_id)))
    if request_id is not None:
        select = select.where(column("request_id", of="r").eq(exp.convert(request_id)))
    return [_request(*row) for row in warehouse.rows(select.limit(limit))]


def _request(
    request_id: str,
    batch_id: str,
    regulation_type: str,
    status: str,
    detail: str | None,
    requested_by: str | None,
    reason: str | None,
    requested_at: datetime | None,
    due_at: datetime | None,
    finished_at: datetime | None,
) -> PrivacyRequest:
    return PrivacyRequest(
        request_id,
        batch_id,
        regulation_type,
        status,
        detail,
        requested_by,
        reason,
        requested_at,
        due_at,
        finished_at,
    )


__all__ = [
    "SHARED",
    "RequestBatch",
    "RequestOptions",
    "list_requests",
    "make_requests",
    "salt_of",
    "show_request",
    "suppress_open",
]
