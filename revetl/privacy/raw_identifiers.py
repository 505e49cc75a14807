"""Query the identifiers of raw messages: which row of which raw table has which identifier."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlglot import exp

from revetl.ingest.raw_tables import MESSAGE_TABLES, raw_columns
from revetl.mapping.comparable import IdentifierTypes
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, query, table

_COLUMNS = {
    "user_id": ("user_id",),
    "anonymous_id": ("anonymous_id",),
    "previous_id": ("user_id", "anonymous_id"),
}
"""Raw columns, with the identifier types that they may contain."""
_OF_ACCOUNTS = ("groups", "traits")
"""JSON that describes an account, not a person."""


def raw_tables(warehouse: Warehouse, schema: str) -> dict[str, tuple[exp.Table, dict[str, str]]]:
    """Return the raw message tables that exist: name to relation and columns."""
    names = [*MESSAGE_TABLES.values()]
    relations = [table(name, schema, warehouse.database) for name in names]
    found = warehouse.catalog(relations)
    return {
        name: (relation, {each.lower(): kind for each, kind in columns.items()})
        for name, relation, columns in zip(names, relations, found, strict=True)
        if columns is not None
    }


def raw_identifiers(
    warehouse: Warehouse,
    types: IdentifierTypes,
    name: str,
    relation: exp.Table,
    columns: Collection[str],
) -> list[exp.Query]:
    """Return queries of a raw table's identifiers: `raw_table`, `message_id`, `identifier_type`,
    `identifier_value` (normalized)."""
    found: list[exp.Query] = []
    for each, kinds in _COLUMNS.items():
        if each in columns:
            found += [_identifiers(types, name, relation, kind, column(each, of="r")) for kind in kinds]
    documents = [each for each, kind in raw_columns()[name].items() if kind == "json" and each in columns]
    for kind, paths in types.paths.items():
        for document, *members in paths:
            if document in documents and (name, document) != _OF_ACCOUNTS:
                value = _member(warehouse, column(document, of="r"), members)
                found.append(_identifiers(types, name, relation, kind, value, document))
    return found


def _member(warehouse: Warehouse, document: exp.Expr, members: Sequence[str]) -> exp.Expr:
    value: exp.Expr = exp.cast(document, warehouse.type_of("varchar"))
    for each in members:
        value = warehouse.json_text(value, each)
    return value


def _identifiers(
    types: IdentifierTypes,
    name: str,
    relation: exp.Table,
    kind: str,
    value: exp.Expr,
    document: str | None = None,
) -> exp.Query:
    return query(
        """
        select :name as raw_table, r.id as message_id, :kind as identifier_type,
            :value as identifier_value
        from :relation as r where :given is not null
        """,
        name=name,
        kind=kind,
        value=types.comparable_sql(kind, value),
        given=value.copy() if document is None else column(document, of="r"),
        relation=relation,
    )
