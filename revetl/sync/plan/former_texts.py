"""Migrate raw texts of identifiers that an older version stored in the state, which now stores sent values.

`late_identifiers` computes the sent value of each text; a diff reads the state as if it had always had them.
"""

from __future__ import annotations

from sqlglot import exp

from revetl.mapping.fields import FieldMapping, MappedField
from revetl.sync.plan.late_identifiers import SENT, made_by, sent_column, with_sent
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, select, statement

_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "HUGEINT", "NUMBER", "NUMERIC", "DECIMAL", "LONG")


def has_former(warehouse: Warehouse, state: exp.Table, sync: str) -> bool:
    """Whether the state has raw texts of identifiers from an older version."""
    found = warehouse.rows(
        statement(
            "select count(*) from :state as s where s.sync = :sync and not (s.hash_by like :sent)",
            state=state,
            sync=sync,
            sent=f"%{SENT}%",
        )
    )
    return bool(found[0][0])


def former_texts(
    warehouse: Warehouse, state: exp.Table, sync: str, mapping: FieldMapping
) -> list[exp.Select]:
    """Return queries of the raw texts in the state, by identifier."""
    return [
        select(
            "select distinct :name as name, :text as raw from :state as s "
            "where s.sync = :sync and not (s.hash_by like :sent) and :text is not null",
            name=item.name,
            text=warehouse.json_text(column("identifiers", of="s"), item.name),
            state=state,
            sync=sync,
            sent=f"%{SENT}%",
        )
        for item in mapping.late
    ]


def as_sent(
    warehouse: Warehouse, state: exp.Table, sync: str, mapping: FieldMapping, *, has_presence: bool
) -> exp.Subquery:
    """Return the state rows of a sync with sent values instead of raw texts, in the columns that a diff
    reads. `revetl_late` has the texts."""
    texts = {
        item.name: warehouse.json_text(column("identifiers", of="a"), item.name) for item in mapping.late
    }
    at = {item.name: place for place, item in enumerate(mapping.late)}
    joined = with_sent(
        exp.Subquery(
            this=statement("select * from :state as s where s.sync = :sync", state=state, sync=sync)
        ),
        texts,
    )

    def value(name: str) -> exp.Expr:
        text = warehouse.json_text(column("identifiers", of="s"), name)
        if name not in at:
            return text
        # An invalid text was not sent, and must not be sent to remove the member.
        return column(sent_column(at[name]), of="s")

    def typed(item: MappedField) -> tuple[exp.Expr, str]:
        if not item.type.upper().startswith(_NUMBERS):
            return value(item.name), "VARCHAR"
        kind = exp.DataType.build(item.type, dialect=warehouse.dialect)
        return exp.cast(value(item.name), kind), item.type

    identifiers = warehouse.json_object({item.name: typed(item) for item in mapping.identifiers})
    return exp.Subquery(
        this=statement(
            """
            select s.sync as sync, s.key as key, s.row_hash as row_hash, :made_by as hash_by,
                case when s.hash_by like :sent then s.identifiers else :identifiers end as identifiers,
                s.fields as fields, s.pending_operation as pending_operation, s.pending_hash as pending_hash,
                s.pending_run_id as pending_run_id, :presence as presence,
                case when s.hash_by like :sent then 0 else 1 end as is_old
            from :joined as s
            """,
            made_by=made_by(),
            sent=f"%{SENT}%",
            identifiers=identifiers,
            presence=column("presence", of="s") if has_presence else statement("cast(null as varchar)"),
            joined=joined,
        )
    )
