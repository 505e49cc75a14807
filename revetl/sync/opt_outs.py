"""Find suppressed people in the state of orphaned and paused syncs, which no audience build covers.

The state stores identifiers as they were sent: normalized, and hashed for destinations that take hashes.
Values in `revetl.suppressions` are therefore normalized by the destination's rule for the identifier before
they are compared: `(650) 555-1212` matches the hash of `+16505551212`.
"""

from __future__ import annotations

from collections.abc import Collection

import orjson
from sqlglot import exp

from revetl.destinations.base.destination import Destination, Identifier
from revetl.mapping.fields import MappedField, made_alike
from revetl.sync.plan.eligibility import alike
from revetl.sync.plan.late_identifiers import (
    LATE,
    SENT,
    finishers,
    load,
    union,
)
from revetl.sync.plan.suppressed import STANDARD, folded
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, select, statement

_VALUE = column("identifier_value", of="p")


def suppressed(
    warehouse: Warehouse,
    tables: StateTables,
    sync: str,
    destination: Destination,
    rows: exp.Table | None = None,
) -> exp.Expr:
    """Return the condition that row `s` of the state (or of a table with the same columns) is of a suppressed
    person: by the key, by any identifier (plain, normalized or hashed), or by a field with the name of the
    suppression's type. Creates the temporary table `revetl_late` if an identifier is normalized in Python."""
    kept = tables.state if rows is None else rows
    identifiers, fields = _names(warehouse, kept, sync)
    query = statement("select distinct p.identifier_type from :list as p", list=tables.suppressions)
    kinds = [str(kind) for (kind,) in warehouse.rows(query)]
    known = {each.name: each for each in destination.known_by}
    tests = _as_written(tables, column("key", of="s"), kinds)
    late: list[tuple[MappedField, list[str]]] = []
    for name in identifiers:
        held = warehouse.json_text(column("identifiers", of="s"), name)
        identifier = known.get(name)
        own = _kinds_of(identifier, kinds) if identifier is not None else kinds
        tests += _as_written(tables, held, kinds if identifier is None or identifier.alone else own)
        if identifier is None or not own:
            continue
        item = made_alike(MappedField(name, column("identifier_value"), "VARCHAR"), identifier)
        if item.late:
            late.append((item, own))
        else:
            tests.append(_is_among(held, _listed(tables, alike(item.of("p")), own)))
    for name in fields:
        own = [kind for kind in kinds if folded(kind) == folded(name)]
        tests += _as_written(tables, warehouse.json_text(column("fields", of="s"), name), own)
    if late:
        _load(warehouse, tables, kept, sync, destination, late)
        tests += [_is_sent(warehouse, tables, item, own) for item, own in late]
    return exp.or_(*tests) if tests else exp.false()


def _names(warehouse: Warehouse, kept: exp.Table, sync: str) -> tuple[list[str], list[str]]:
    """Return the names of the identifiers and fields in the state of a sync."""
    query = statement(
        "select min(s.identifiers), max(s.identifiers), min(s.fields), max(s.fields) "
        "from :state as s where s.sync = :sync",
        state=kept,
        sync=sync,
    )
    (texts,) = warehouse.rows(query)
    first, last, *fields = (orjson.loads(text or "{}") for text in texts)
    return [*{**first, **last}], [*{**fields[0], **fields[1]}]


def _kinds_of(identifier: Identifier, kinds: Collection[str]) -> list[str]:
    """Return the suppression types that apply to an identifier: those with its name. If it is the only
    identifier of the sync, also those that aren't a standard identifier, because the state doesn't record the
    column it came from."""
    own = {folded(identifier.name), folded(identifier.column)}
    others = {folded(name) for name in STANDARD} - own
    return [
        kind for kind in kinds if folded(kind) in own or (identifier.alone and folded(kind) not in others)
    ]


def _as_written(tables: StateTables, held: exp.Expr, kinds: Collection[str]) -> list[exp.Expr]:
    """Return the conditions that a value is on the list, as written there or hashed."""
    plain = alike(_VALUE)
    hashed = exp.SHA2(this=plain.copy(), length=exp.convert(256))
    return [_is_among(held, _listed(tables, made, kinds)) for made in (plain, hashed) if kinds]


def _listed(tables: StateTables, made: exp.Expr, kinds: Collection[str]) -> exp.Select:
    """Select the suppressed values of some types, as the expression `made` over row `p` of the list."""
    return select(
        "select :made as value from :list as p where p.identifier_value is not null and :listed",
        made=made,
        list=tables.suppressions,
        listed=_is_of(kinds),
    )


def _is_of(kinds: Collection[str]) -> exp.Expr:
    return exp.In(this=column("identifier_type", of="p"), expressions=[exp.convert(kind) for kind in kinds])


def _is_among(held: exp.Expr, listed: exp.Select) -> exp.Expr:
    return statement(
        ":value in (select l.value from :listed as l where l.value is not null)",
        value=alike(held),
        listed=exp.Subquery(this=listed),
    )


def _load(
    warehouse: Warehouse,
    tables: StateTables,
    kept: exp.Table,
    sync: str,
    destination: Destination,
    late: Collection[tuple[MappedField, list[str]]],
) -> None:
    """Load into `revetl_late` the sent form of suppressed values, and of raw texts that an older version
    stored in the state."""
    texts = [
        select(
            "select distinct :name as name, :text as raw from :list as p where :listed and :text is not null",
            name=item.name,
            text=item.of("p"),
            list=tables.suppressions,
            listed=_is_of(own),
        )
        for item, own in late
    ]
    texts += [
        select(
            "select distinct :name as name, :text as raw from :state as s "
            "where s.sync = :sync and not (s.hash_by like :sent) and :text is not null",
            name=item.name,
            text=warehouse.json_text(column("identifiers", of="s"), item.name),
            state=kept,
            sync=sync,
            sent=f"%{SENT}%",
        )
        for item, _ in late
    ]
    load(warehouse, union(texts), finishers(destination))


def _is_sent(
    warehouse: Warehouse, tables: StateTables, item: MappedField, kinds: Collection[str]
) -> exp.Expr:
    """Return the condition that state row `s` has the sent form of a suppressed value for an identifier that
    is normalized in Python, or a raw text that normalizes to it."""
    listed = select(
        "select l.sent as value from :list as p inner join :late as l on l.name = :name and l.raw = :text "
        "where :listed and l.sent is not null",
        list=tables.suppressions,
        late=LATE,
        name=item.name,
        text=item.of("p"),
        listed=_is_of(kinds),
    )
    return statement(
        "(:held in (select f.value from :listed as f) or :held in (select t.raw from :late as t "
        "where t.name = :name and t.sent in (select f.value from :listed as f)))",
        held=warehouse.json_text(column("identifiers", of="s"), item.name),
        listed=exp.Subquery(this=listed),
        late=LATE,
        name=item.name,
    )
