"""The diff, as SQL in the warehouse: an audience against what the destination is known to hold.

It is one query (`changes`), which leaves one temporary table, `revetl_changes` (key, row_hash, operation,
held, origin, cause, caused_at, is_sent), of changed keys only; `changed` then reads whole records for them.
Operations: `add`, `update`, `remove`; `rekey` (the destination knows the person by another identifier now: a
remove and an add); `forget` (gone, but every identifier is held by another member: nothing to send); `rehash`
(only the hash's maker, or names that are mapped, changed); `wait` (refused before, and the same still);
`later` (over the destination's daily limit). Of removes and rekeys, `is_sent` says whether an old identifier
is free to be removed. `held` and `is_sent` are 1 or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sqlglot import exp

from revetl.mapping.fields import FieldMapping
from revetl.sync.plan.daily_limits import DailyLimit
from revetl.sync.plan.diff_query import Asked, changed_of, changes_of
from revetl.sync.plan.eligibility import LEFT_OUT, Members
from revetl.sync.plan.identifier_sql import IdentifierSql
from revetl.sync.plan.late_identifiers import (
    CHANGED,
    SENT,
    Finish,
    as_sent,
    load,
    load_nothing,
    old_texts,
    union,
)
from revetl.sync.plan.presence import Presence
from revetl.sync.plan.state_summary import Facts
from revetl.sync.state.identity import Identity
from revetl.sync.state.tables import Tables
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
    """What names the maker of a row hash: the engine, what was mapped, and what normalizes identifiers on the
    runner, which a hash of raw values does not cover."""
    made_by = f"{warehouse.hash_by} {mapping.fingerprint} {mapping.versions}".strip()
    return made_by + (SENT if mapping.is_late else "")


def hashed_values(mapping: FieldMapping) -> list[tuple[exp.Expr, str]]:
    """What a row hash of the member `a` covers, each with its type."""
    key = exp.cast(column(mapping.key, of="a"), "varchar")
    return [(item.of("a"), item.type) for item in mapping.hashed()] or [(key, "varchar")]


@dataclass(frozen=True)
class Diff(IdentifierSql):
    """The statements of one sync's diff on one engine. `hash_by` names what made its row hashes, and
    `finishers` are what late identifiers take; `is_old`: an older version has left some of their texts in the
    state. With `starts_over`, the destination is another one than before, and the state is to hold nobody;
    `remembered` is the last run that this machine knows or, with `is_marked`, that the destination has a mark
    of."""

    warehouse: Warehouse
    tables: Tables
    sync: str
    members: Members
    mapping: FieldMapping
    mode: str
    facts: Facts
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
        """Whether a run has kept anything that this mode counts as held. The state of an older version says
        no presence, and is all of one."""
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
        """The state table, without rows that the mode does not count as held; before the first run, an empty
        one of its shape."""
        if self.has_state:
            rows = as_sent(self) if self.is_old else self.tables.state
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
    def removes(self) -> bool:
        """Whether who left is taken out."""
        return self.mode in ("mirror", "archive", "audience_events")

    @property
    def once(self) -> bool:
        """Whether a key is sent once and never again."""
        return self.mode in ("insert", "events", "audience_events", "delete")

    @property
    def hashed(self) -> list[tuple[exp.Expr, str]]:
        """What a row hash covers, each with its type."""
        return hashed_values(self.mapping)

    def make(self, asked: Asked) -> None:
        """Leave `revetl_changes` in the warehouse; where identifiers are late, `revetl_changed` and
        `revetl_late` too."""
        if self.late:
            if self.is_old:
                # What is held names it; the keys that changed do not need what it has.
                load_nothing(self.warehouse)
            self.warehouse.temporary(CHANGED, changed_of(self, asked))
            load(
                self.warehouse,
                union([*self.late_texts(), *(old_texts(self) if self.is_old else ())]),
                self.finishers,
            )
        changes = changes_of(self, asked)
        if self.daily_limit is not None:
            changes = self.daily_limit.capped(changes, self.mapping, self.members.relation, self.key)
        self.warehouse.temporary(CHANGES, changes)

    def summary(self, *, fields: bool = False) -> exp.Query:
        """What a plan counts, in one query of what, operation, cause, and numbers.

        - `change`s by operation and cause: rows, removes that are sent;
        - `all` changes: rows, different keys that are not held, held keys that left, and as operation a sum
          of hashes, which is the same for the same changes in whatever order;
        - the `audience`: rows, keys, different keys, and how many have any usable identifier, each usable
          one, and each that is given; where identifiers are late, the last three are of `identified` alone;
        - who is `left_out`, by cause: rows;
        - where `fields` are asked for, how many updates each is a reason of: see `_count_of_differences`.
        """
        identified = [exp.func("count", each) for each in self.counts()]
        most = max(3 + len(identified), len(self.mapping.fields) if fields else 0)

        def numbers(*made: exp.Expr | str) -> list[exp.Expr]:
            counted = [statement(each) if isinstance(each, str) else each for each in made]
            filled = [*counted, *[exp.convert(0)] * (most - len(counted))]
            return [exp.alias_(each, f"n{at}") for at, each in enumerate(filled)]

        parts: list[exp.Expr] = [
            select(
                "select 'change' as what, c.operation as operation, c.cause as cause "
                "from :changes as c group by c.operation, c.cause",
                changes=CHANGES,
            ).select(*numbers("count(*)", "sum(c.is_sent)")),
            select(
                "select 'all', cast(sum(cast(:hashed as decimal(38, 0))) as varchar), cast(null as varchar) "
                "from :changes as c",
                changes=CHANGES,
                hashed=self._change_hash(),
            ).select(
                *numbers(
                    "count(*)",
                    "count(distinct case when c.held = 0 then c.key end)",
                    "count(case when c.held = 1 and c.row_hash is null then 1 end)",
                )
            ),
            select(
                "select 'audience', cast(null as varchar), cast(null as varchar) from :model as a",
                model=self.members.relation if self.late else self.counted(),
            ).select(
                *numbers(
                    "count(*)",
                    exp.func("count", self.key),
                    # Where those who left are changes, what repeats follows from the other counts.
                    "0" if self.removes else statement("count(distinct :key)", key=self.key),
                    *(() if self.late else identified),
                )
            ),
        ]
        if self.late:
            everyone = select(
                "select 'identified', cast(null as varchar), cast(null as varchar) from :counted as a",
                counted=self.counted(),
            )
            parts.append(everyone.select(*numbers("0", "0", "0", *identified)))
        if self.members.chosen:
            left_out = select(
                "select 'left_out', cast(null as varchar), o.cause from :left_out as o group by o.cause",
                left_out=LEFT_OUT,
            )
            parts.append(left_out.select(*numbers("count(*)")))
        if fields:
            parts.append(self._count_of_differences(numbers))
        return exp.union(*parts, distinct=False)

    def _change_hash(self) -> exp.Expr:
        kinds = {"key": "varchar", "operation": "varchar", "row_hash": "bigint", "cause": "varchar"}
        return self.warehouse.row_hash([(column(name, of="c"), kind) for name, kind in kinds.items()])

    def differs(self, name: str | None = None) -> exp.Expr:
        """Whether the field, or any, has another value in NOW than in KNOWN."""
        names = [item.name for item in self.mapping.fields] if name is None else [name]
        return self.warehouse.json_differs(exp.column(KNOWN), exp.column(NOW), names)

    def compared(self) -> list[exp.Expr]:
        """The columns KNOWN and NOW: the fields of the state row `s` and of the member `a`."""
        return [
            exp.alias_(column("fields", of="s"), KNOWN),
            exp.alias_(self._fields_json, NOW),
        ]

    def _count_of_differences(self, numbers: Callable[..., list[exp.Expr]]) -> exp.Select:
        """How many updates each field is a reason of: as text, a JSON object; or numbers, in order."""
        names = [item.name for item in self.mapping.fields]
        both = select(
            """
            select c.key
            from :changes as c
            inner join :model as a on :key = c.key
            inner join :held as s on s.key = c.key and s.sync = :sync
            where c.operation = 'update'
            """,
            **self.parts(),
        ).select(*self.compared(), append=False)
        if (counted := self.warehouse.count_differences(both, names)) is not None:
            text = exp.Subquery(this=counted)
            return select("select 'fields', :text, cast(null as varchar)", text=text).select(*numbers())
        tests = [exp.Case(ifs=[exp.If(this=self.differs(name), true=exp.convert(1))]) for name in names]
        return select(
            "select 'fields', cast(null as varchar), cast(null as varchar) from :both as u",
            both=both.subquery(),
        ).select(*numbers(*(exp.func("count", test) for test in tests)))

    def keep_suppressed(self) -> exp.Expr:
        """Drop every change but the removes of people who were suppressed."""
        return statement(
            "delete from :changes where operation <> 'remove' or cause <> 'suppressed'", changes=CHANGES
        )

    def dismiss(self) -> exp.Expr:
        """Drop the rejections of what is no change any more: who was refused has left, or is again as the
        destination has them."""
        return statement(
            """
            delete from :rejections where sync = :sync
            and key not in (select c.key from :changes as c where c.key is not null)
            """,
            changes=CHANGES,
            sync=self.sync,
            rejections=self.tables.rejections,
        )

    def drop_aside(self) -> exp.Expr:
        """Where nobody is removed, old identifiers are not either, and need not be kept."""
        return statement(
            "delete from :state where sync = :sync and key like '% was {%'",
            state=self.tables.state,
            sync=self.sync,
        )

    def label(self) -> exp.Expr:
        """Have the rows that say no presence say it."""
        return statement(
            "update :state set presence = :presence where sync = :sync and presence is null",
            state=self.tables.state,
            sync=self.sync,
            presence=self.facts.unlabelled_are,
        )

    def settle(self) -> exp.Expr:
        """Write the new hashes and fields of `rehash`: it needs no request."""
        return statement(
            """
            merge into :state as s
            using (
                select c.key as key, c.row_hash as row_hash, :fields as fields
                from :changes as c inner join :model as a on :key = c.key
                where c.operation = 'rehash'
            ) as f on s.sync = :sync and s.key = f.key
            when matched then update set row_hash = f.row_hash, fields = f.fields, hash_by = :hash_by
            """,
            **{**self.parts(), "model": self.members.relation},
            state=self.tables.state,
            hash_by=self.hash_by,
        )

    def parts(self) -> dict[str, object]:
        """What statements over changes, members (`a`) and state (`s`) are made of."""
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
    def _identifiers_json(self) -> exp.Expr:
        return self.json_of_identifiers()

    @cached_property
    def _fields_json(self) -> exp.Expr:
        return self.json_of_fields()

    def json_of_fields(self) -> exp.Expr:
        """The fields of the member `a`, and what goes along with them, as the text of a JSON object."""
        return self.warehouse.json_object(
            {item.name: (item.of("a"), item.type) for item in (*self.mapping.fields, *self.mapping.along)}
        )
