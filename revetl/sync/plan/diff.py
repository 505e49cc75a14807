"""The diff, as SQL in the warehouse: compare an audience with the sync's state.

It is one query (`changes`) that creates one temporary table, `revetl_changes` (key, row_hash, operation,
held, origin, cause, caused_at, is_sent), with changed keys only; `changed` then reads their full records.

Operations: `add`, `update`, `remove`; `rekey` (the member has a new identifier: a remove and an add);
`forget` (left, but every identifier belongs to another member: nothing to send); `rehash` (only the hash
fingerprint or the names of mapped fields changed); `wait` (rejected before and unchanged); `later` (over the
destination's daily limit). For removes and rekeys, `is_sent` is 1 if an old identifier can be removed. `held`
is 1 if the key is in the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sqlglot import exp

from revetl.mapping.fields import FieldMapping
from revetl.sync.plan.daily_limits import DailyLimit
from revetl.sync.plan.eligibility import Members
from revetl.sync.plan.former_texts import as_sent
from revetl.sync.plan.identifier_sql import IdentifierSql
from revetl.sync.plan.late_identifiers import CHANGED, SENT, Finish
from revetl.sync.plan.presence import Presence
from revetl.sync.plan.state_summary import StateSummary
from revetl.sync.state.identity import Identity
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    select,
    statement,
    table,
)

CHANGES = table("revetl_changes")
KNOWN, NOW = "known_fields", "fields_now"
"""The columns of `Diff.compared`."""


def hash_name(warehouse: Warehouse, mapping: FieldMapping) -> str:
    """Return the fingerprint of a row hash: the engine, the mapping, and the versions of the libraries that
    normalize identifiers in Python, which a hash of raw values does not cover."""
    made_by = f"{warehouse.hash_by} {mapping.fingerprint} {mapping.versions}".strip()
    return made_by + (SENT if mapping.is_late else "")


def hashed_values(mapping: FieldMapping) -> list[tuple[exp.Expr, str]]:
    """Return the values of the member `a` that the row hash covers, with their types."""
    key = exp.cast(column(mapping.key, of="a"), "varchar")
    return [(item.of("a"), item.type) for item in mapping.hashed()] or [(key, "varchar")]


@dataclass(frozen=True)
class Diff:
    """The SQL of one sync's diff on one engine.

    `hash_by` is the fingerprint of its row hashes, and `finishers` normalize identifiers in Python; `is_old`:
    an older version stored raw texts of such identifiers in the state. With `starts_over`, the destination
    points to another place than before, and the state counts as empty. `remembered` is the last run that this
    machine or, with `is_marked`, the destination has recorded."""

    warehouse: Warehouse
    tables: StateTables
    sync: str
    members: Members
    mapping: FieldMapping
    mode: str
    facts: StateSummary
    presence: Presence
    identity: Identity
    starts_over: bool = False
    remembered: str | None = None
    is_marked: bool = False
    finishers: Mapping[str, Finish] = field(default_factory=dict)
    is_old: bool = False
    daily_limit: DailyLimit | None = None

    @property
    def has_state(self) -> bool:
        """Whether the state has rows that this mode counts as held. State of an older version has no presence
        column; all its rows have the same presence."""
        facts = self.facts
        return facts.has_state and (facts.has_presence or facts.unlabelled_are in self.presence.held)

    @property
    def hash_by(self) -> str:
        return hash_name(self.warehouse, self.mapping)

    @property
    def key(self) -> exp.Expr:
        return exp.cast(column(self.mapping.key, of="a"), "varchar")

    @property
    def held(self) -> exp.Table | exp.Subquery:
        """The state rows that the mode counts as held; before the first run, an empty query of the same
        columns."""
        if self.has_state:
            rows = self.as_sent if self.is_old else self.tables.state
            if all(each in self.presence.held for each in self.facts.present):
                return rows
            there = [exp.convert(each) for each in self.presence.held]
            labelled = statement(
                "coalesce(s.presence, :otherwise)", otherwise=exp.convert(self.facts.unlabelled_are)
            )
            return exp.Subquery(
                this=select(
                    "select * from :rows as s where :held",
                    rows=rows,
                    held=exp.In(this=labelled, expressions=there),
                )
            )
        empty = statement(
            "select '' as sync, '' as key, 0 as row_hash, '' as hash_by, '{}' as identifiers, "
            "'{}' as fields, '' as pending_operation, 0 as pending_hash, '' as pending_run_id where 1 = 0"
        )
        return exp.Subquery(this=empty)

    @property
    def as_sent(self) -> exp.Subquery:
        """The state rows of the sync, with sent values instead of raw texts from an older version."""
        has_presence = self.facts.has_presence
        return as_sent(self.warehouse, self.tables.state, self.sync, self.mapping, has_presence=has_presence)

    @property
    def removes(self) -> bool:
        """Whether members who leave are removed."""
        return self.mode in ("mirror", "archive", "audience_events")

    @property
    def once(self) -> bool:
        """Whether each key is sent only once."""
        return self.mode in ("insert", "events", "audience_events", "delete")

    @property
    def hashed(self) -> list[tuple[exp.Expr, str]]:
        """The values that a row hash covers, with their types."""
        return hashed_values(self.mapping)

    def differs(self, name: str | None = None) -> exp.Expr:
        """Return the condition that the field, or any field, differs between NOW and KNOWN."""
        names = [item.name for item in self.mapping.fields] if name is None else [name]
        return self.warehouse.json_differs(exp.column(KNOWN), exp.column(NOW), names)

    def compared(self) -> list[exp.Expr]:
        """The columns KNOWN and NOW: the fields of the state row `s` and of the member `a`."""
        return [
            exp.alias_(column("fields", of="s"), KNOWN),
            exp.alias_(self._fields_json, NOW),
        ]

    def parts(self) -> dict[str, object]:
        """The parts of statements over changes, members (`a`) and state (`s`)."""
        return {
            "changes": CHANGES,
            "held": self.held,
            "model": self.model,
            "key": self.key,
            "sync": self.sync,
            "identifiers": self._identifiers_json,
            "fields": self._fields_json,
        }

    @cached_property
    def identifiers(self) -> IdentifierSql:
        """The SQL of the diff's identifiers."""
        return IdentifierSql(
            warehouse=self.warehouse,
            tables=self.tables,
            sync=self.sync,
            members=self.members,
            mapping=self.mapping,
            key=self.key,
            held=self.held,
            unchanged=self.unchanged,
            everyone=self.everyone,
            has_state=self.has_state,
            removes=self.removes,
        )

    @property
    def model(self) -> exp.Table | exp.Subquery:
        """The members, with the sent values of identifiers that are normalized in Python."""
        return self.identifiers.model

    @property
    def everyone(self) -> exp.Table | exp.Subquery:
        """All members who may have taken over an identifier."""
        return self.members.relation

    @property
    def unchanged(self) -> exp.Subquery:
        """The state rows of unchanged members."""
        made = statement(
            "select * from :held as s where s.sync = :sync and s.key not in ("
            "select c.key from :changed as c where c.key is not null)",
            held=self.held,
            sync=self.sync,
            changed=CHANGED,
        )
        return exp.Subquery(this=made)

    @cached_property
    def _identifiers_json(self) -> exp.Expr:
        return self.identifiers.json_of_identifiers()

    @cached_property
    def _fields_json(self) -> exp.Expr:
        return self.json_of_fields()

    def json_of_fields(self) -> exp.Expr:
        """Return the fields of the member `a`, and the values stored with them, as a JSON object."""
        return self.warehouse.json_object(
            {item.name: (item.of("a"), item.type) for item in (*self.mapping.fields, *self.mapping.along)}
        )
