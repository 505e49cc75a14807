"""Who of a sync's state was suppressed since, where no audience can say it: the sync is orphaned or paused.

The state keeps identifiers as they were sent: normalized, and hashed where the destination takes hashes. So
what is in `revetl.suppressions` is normalized by the rule of the destination's identifier before the two are
compared: `(650) 555-1212` is the hash of `+16505551212`.
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
    """Whether the person of a row `s` of the state, or of a table that keeps such rows, is suppressed: by the
    key or any identifier, plain, normalized or hashed, or by a field that is named as the suppression is.
    Leaves `revetl_late` in the warehouse where identifiers take a library."""
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
    """The identifiers and fields that the state has of a sync."""
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
    """The types of the list whose values may be of an identifier: those named as it is; where somebody is
    found by it alone, those too that name no other standard identifier, for the column that it was taken
    from is not known."""
    own = {folded(identifier.name), folded(identifier.column)}
    others = {folded(name) for name in STANDARD} - own
    return [
        kind for kind in kinds if folded(kind) in own or (identifier.alone and folded(kind) not in others)
    ]


def _as_written(tables: StateTables, held: exp.Expr, kinds: Collection[str]) -> list[exp.Expr]:
    """Whether a value is in the list as it is written there, or as the hash of that."""
    plain = alike(_VALUE)
    hashed = exp.SHA2(this=plain.copy(), length=exp.convert(256))
    return [_is_among(held, _listed(tables, made, kinds)) for made in (plain, hashed) if kinds]


def _listed(tables: StateTables, made: exp.Expr, kinds: Collection[str]) -> exp.Select:
    """The suppressed values of some types, as `made` of the row `p` of the list."""
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
    """Leave in `revetl_late` what is sent of suppressed values, and of texts that an older version has left
    in the state."""
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
    """Whether the state row `s` has of a late identifier what is sent of a suppressed value, or a text of
    which that is sent."""
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
