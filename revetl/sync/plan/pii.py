"""Hide values from a destination, in SQL, so that the state, the write-ahead log and requests never contain
them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from revetl.errors import UsageError
from revetl.governance.pii import MASK, Hider
from revetl.governance.transformations import PiiRule
from revetl.mapping.fields import FieldMapping, MappedField
from revetl.observability import logs
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement, table

SALT = table("revetl_salt")
_SALTED = ("duckdb", "postgres", "snowflake")
"""Engines that load a temporary table as data. On others the salt would be part of a statement, and so of the
logs."""

_MASKED = """
    case
        when strpos(:text, '@') > 0
            then concat(substr(:text, 1, 1), :mask, regexp_replace(:text, '^.*@', '@'))
        when length(regexp_replace(:text, '[^0-9]', '', 'g')) >= 5
            then concat(:mask, right(regexp_replace(:text, '[^0-9]', '', 'g'), 2))
        when :text is not null then :mask
    end
"""


def hidden(mapping: FieldMapping, hider: Hider, place: str) -> FieldMapping:
    """Apply a destination's PII rules to its mapping.

    A rule matches by the sent name or by a source column. Raises UsageError, naming `place`, for values that
    cannot be hidden.
    """
    if hider.rule_of(mapping.key) is not None:
        raise UsageError(
            f"{place}: '{mapping.key}' is hidden, and is the audience's key, which the state and the journal "
            "keep. Make canonical_id the key."
        )
    identifiers, fields = [], []
    for item in mapping.identifiers:
        rule = hider.rule_of(item.name, *item.columns)
        if rule is not None and item.hashed is not None and rule.action != "drop":
            raise UsageError(
                f"{place}: identifier '{item.name}' is hashed as the destination wants it, and would match "
                f"nobody with '{rule.action}'. Drop it, or take the rule away."
            )
        if rule is None or rule.action != "drop":
            identifiers.append(_hidden(item, rule))
    if not identifiers:
        raise UsageError(f"{place}: every identifier is dropped, and nobody can be sent. Keep one.")
    dropped = []
    for item in mapping.fields:
        rule = hider.rule_of(item.name, *item.columns)
        if rule is not None and rule.action == "drop":
            dropped.append(item.name)
        else:
            fields.append(_hidden(item, rule))
    # Columns that events are built from are hidden like fields; values inside their JSON are hidden when it
    # is read.
    judged = [(item, hider.rule_of(*item.columns)) for item in mapping.along]
    along = tuple(_hidden(item, rule) for item, rule in judged if rule is None or rule.action != "drop")
    return replace(
        mapping, identifiers=tuple(identifiers), fields=tuple(fields), along=along, dropped=tuple(dropped)
    )


def give_salt(warehouse: Warehouse, hider: Hider) -> None:
    """Load the salt into a temporary table for the expressions of `hidden`.

    Raises UsageError on engines that would log it.
    """
    if warehouse.dialect not in _SALTED:
        raise UsageError(
            f"transformations.yaml: pii: hash for a destination is not for {warehouse.dialect}, whose logs "
            "would show the salt. Hash it at load, or in the model."
        )
    logs.hide(hider.salt)
    warehouse.load(SALT, pa.table({"salt": [hider.salt]}))


def _hidden(item: MappedField, rule: PiiRule | None) -> MappedField:
    if rule is None:
        return item
    text = exp.cast(item.expression, "varchar")
    if rule.action == "mask":
        return replace(item, expression=statement(_MASKED, "duckdb", text=text, mask=MASK), type="VARCHAR")
    salted = statement(
        "concat((select k.salt from :salt as k), :text)", "duckdb", salt=SALT, text=text.copy()
    )
    digest = exp.SHA2(this=salted, length=exp.convert(256))
    made = statement("case when :text is not null then :digest end", "duckdb", text=text, digest=digest)
    return replace(item, expression=made, type="VARCHAR")
