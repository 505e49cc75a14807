"""The diff, as SQL in the warehouse: an audience against what the destination is known to hold.

It is one query (`changes`), which leaves one temporary table, `revetl_changes` (key, row_hash, operation,
held, origin, cause, caused_at, is_sent), of changed keys only; `changed` then reads whole records for them.
Operations: `add`, `update`, `remove`; `rekey` (the destination knows the person by another identifier now: a
remove and an add); `forget` (gone, but every identifier is held by another member: nothing to send); `rehash`
(only the hash's maker, or names that are mapped, changed); `wait` (refused before, and the same still). Of
removes and rekeys, `is_sent` says whether an old identifier is free to be removed. `held` and `is_sent` are
1 or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sqlglot import exp

from revetl.mapping import FieldMapping, Mapped, trimmed
from revetl.sql import column, select, statement, table
from revetl.sync.changes import Asked, changed_of, changes_of
from revetl.sync.facts import Facts
from revetl.sync.identity import Identity
from revetl.sync.late import (
    CHANGED,
    LATE,
    SENT,
    Finish,
    as_sent,
    load,
    load_nothing,
    old_texts,
    sent_column,
    union,
    with_sent,
)
from revetl.sync.membership import LEFT_OUT, Members, alike, suppressed_by
from revetl.sync.presence import Presence
from revetl.sync.suppressed import listed_as
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse

CHANGES = table("revetl_changes")
KNOWN, NOW = "known_fields", "fields_now"
"""The columns of `Diff.compared`."""


def hash_name(warehouse: Warehouse, mapping: FieldMapping) -> str:
    """What names the maker of a row hash: the engine, what was mapped, and what normalizes identifiers on the
    runner, which a hash of raw values does not cover."""
    made_by = f"{warehouse.hash_by} {mapping.fingerprint} {mapping.versions}".strip()
    return made_by + (SENT if mapping.is_late else "")


@dataclass(frozen=True)
class Diff:
    """The statements of one sync's diff on one engine. `hash_by` names what made its row hashes, and
    `finishers` are what late identifiers take; `is_old`: an older version has left some of their texts in the
    state. With `starts_over`, the destination is another one than before, and the state is to hold nobody;
    `remembered` is the last run that this machine knows."""

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
    finishers: Mapping[str, Finish] = field(default_factory=dict)
    is_old: bool = False

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
        return [(item.of("a"), item.type) for item in self.mapping.hashed()] or [(self.key, "varchar")]

    @property
    def late(self) -> tuple[Mapped, ...]:
        """The identifiers of which the runner makes what is sent."""
        return tuple(item for item in self.mapping.identifiers if item.late)

    def sent_of(self, item: Mapped) -> exp.Expr:
        """What is sent of an identifier of the member `a` of `model`; of a late one, of a changed member."""
        return column(sent_column(self.late.index(item)), of="a") if item.late else item.of("a")

    @property
    def model(self) -> exp.Table | exp.Subquery:
        """The members, with what is sent of late identifiers."""
        return self.as_sent(self.members.relation)

    def as_sent(self, relation: exp.Table | exp.Subquery) -> exp.Table | exp.Subquery:
        """Some members, with what is sent of late identifiers."""
        return with_sent(relation, {item.name: item.of("a") for item in self.late}) if self.late else relation

    @property
    def unchanged(self) -> exp.Subquery:
        """The state rows of members who are as the destination has them."""
        made = statement(
            "select * from :held as s where s.sync = :sync and s.key not in ("
            "select c.key from :changed as c where c.key is not null)",
            held=self.held,
            sync=self.sync,
            changed=CHANGED,
        )
        return exp.Subquery(this=made)

    @property
    def everyone(self) -> exp.Table | exp.Subquery:
        """Those among whom somebody may hold an identifier that another had."""
        return self.members.relation

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
                union([*self._late_texts(), *(old_texts(self) if self.is_old else ())]),
                self.finishers,
            )
        self.warehouse.temporary(CHANGES, changes_of(self, asked))

    def _late_texts(self) -> list[exp.Select]:
        """The texts of late identifiers that changed members have, and by which somebody is suppressed, where
        somebody left."""
        found = [
            select(
                "select distinct :name as name, :text as raw from :changed as c "
                "inner join :model as a on :key = c.key where :text is not null",
                name=item.name,
                text=item.of("a"),
                changed=CHANGED,
                model=self.members.relation,
                key=self.key,
            )
            for item in self.late
        ]
        if self.removes and self.has_state:
            found += [
                select(
                    "select distinct :name as name, :text as raw from :list as s "
                    "where :listed and :text is not null "
                    "and exists (select 1 from :changed as c where c.operation = 'remove')",
                    name=item.name,
                    text=item.over(column("identifier_value", of="s")),
                    list=self.tables.suppressions,
                    listed=listed_as(kinds),
                    changed=CHANGED,
                )
                for item in self.late
                if len(item.columns) == 1
                and (kinds := self.members.suppressed_by.get(next(iter(item.columns))))
            ]
        return found

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
        identified = self._identified()
        most = max(3 + len(identified), len(self.mapping.fields) if fields else 0)

        def numbers(*made: exp.Expr | str) -> list[exp.Expr]:
            counted = [statement(each) if isinstance(each, str) else each for each in made]
            filled = [*counted, *[exp.convert(0)] * (most - len(counted))]
            return [exp.alias_(each, f"n{at}") for at, each in enumerate(filled)]

        parts = [
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
                model=self.members.relation,
            ).select(
                *numbers(
                    "count(*)",
                    exp.func("count", self.key),
                    # Where those who left are changes, what repeats follows from the other counts.
                    "0" if self.removes else statement("count(distinct :key)", key=self.key),
                    *(exp.func("count", value) for value in (() if self.late else identified)),
                )
            ),
        ]
        if self.late:
            members = exp.alias_(self.model, "a", table=True)
            everyone = exp.select(
                exp.alias_(exp.convert("identified"), "what"),
                statement("cast(null as varchar)"),
                statement("cast(null as varchar)"),
            ).from_(members)
            if self.has_state:
                everyone = everyone.join(
                    exp.alias_(self.unchanged, "u", table=True),
                    on=statement("u.key = :key", key=self.key),
                    join_type="left",
                )
            counts = [exp.func("count", value) for value in identified]
            parts.append(everyone.select(*numbers("0", "0", "0", *counts)))
        if self.members.chosen:
            left_out = select(
                "select 'left_out', cast(null as varchar), o.cause from :left_out as o group by o.cause",
                left_out=LEFT_OUT,
            )
            parts.append(left_out.select(*numbers("count(*)")))
        if fields:
            parts.append(self._count_of_differences(numbers))
        return exp.union(*parts, distinct=False)

    def _identified(self) -> list[exp.Expr]:
        """Of the member `a`: any usable identifier, each, and each that is given."""
        usable = [self._usable(item) for item in self.mapping.identifiers]
        texts = [exp.cast(value, "varchar") for value in usable]
        any_of = usable[0] if len(usable) == 1 else exp.func("coalesce", *texts)
        return [any_of, *usable, *(item.given("a") for item in self.mapping.identifiers)]

    def _usable(self, item: Mapped) -> exp.Expr:
        """A usable identifier of the member `a`; of a late one, what the state row `u` has, for who is not
        changed."""
        if not (item.late and self.has_state):
            return self.sent_of(item) if item.late else item.usable("a")
        held = self.warehouse.json_text(column("identifiers", of="u"), item.name)
        return exp.func("coalesce", self.sent_of(item), held)

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

    def suppressions(self) -> list[tuple[exp.Expr, exp.Subquery]]:
        """Of each kind of identifier that anybody is suppressed by and that is sent: what the state row `s`
        has of it, and the list (`value`, `since`). Who is to be removed and was suppressed is removed for
        that, even when the model itself leaves suppressed people out. They are found by the key and by what
        identifiers are made of."""
        sources: dict[str, tuple[exp.Expr, exp.Select | None]] = {
            self.mapping.key: (column("key", of="s"), self._listed(self.mapping.key))
        }
        for item in self.mapping.identifiers:
            if len(item.columns) == 1:
                (name,) = item.columns
                made = item.over(column("identifier_value", of="s"))
                held = self.warehouse.json_text(column("identifiers", of="s"), item.name)
                listed = self._late_suppressed(item, name, made) if item.late else self._listed(name, made)
                sources[name] = (held, listed)
        return [
            (alike(held), exp.Subquery(this=listed))
            for held, listed in sources.values()
            if listed is not None
        ]

    def _listed(self, name: str, made: exp.Expr | None = None) -> exp.Select | None:
        """The suppressed values (`value`, `since`) that are of a column; None where none can be."""
        kinds = self.members.suppressed_by.get(name)
        return suppressed_by(self.tables, kinds, None if made is None else alike(made)) if kinds else None

    def _late_suppressed(self, item: Mapped, name: str, text: exp.Expr) -> exp.Select | None:
        """The suppressed values of a late identifier, as they are sent: `value`, `since`."""
        if not (kinds := self.members.suppressed_by.get(name)):
            return None
        return select(
            """
            select :value as value, min(s.suppressed_at) as since
            from :list as s inner join :late as l on l.name = :name and l.raw = :text
            where :listed group by 1
            """,
            value=alike(column("sent", of="l")),
            list=self.tables.suppressions,
            late=LATE,
            name=item.name,
            text=text,
            listed=listed_as(kinds),
        )

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

    def json_of_identifiers(self) -> exp.Expr:
        """What is sent of the identifiers of the member `a` of `model`, as the text of a JSON object."""
        return self.warehouse.json_object(
            {item.name: (self.sent_of(item), item.type) for item in self.mapping.identifiers}
        )

    def is_invalid(self, item: Mapped) -> exp.Expr:
        """Whether the member `a` of `model` has a text that is no valid identifier. Of a late one, of a
        changed member."""
        usable = self.sent_of(item) if item.late else item.usable("a")
        return statement(":given is not null and :usable is null", given=item.given("a"), usable=usable)

    def invalid(self) -> exp.Expr:
        """Which identifiers of the member `a` of `model` are none, with the values, where nobody can be
        found by what is left; else null."""
        whys = [
            statement(
                "case when :is_invalid then :name || :text || :why else '' end",
                is_invalid=self.is_invalid(item),
                name=f"; {item.name} '",
                text=statement("substr(cast(:text as varchar), 1, 200)", text=item.given("a")),
                why=f"' is not a valid {item.kind}",
            )
            for item in self.mapping.identifiers
            if item.made is not None or item.expression != item.raw
        ]
        if not whys:
            return statement("cast(null as varchar)")
        nobody = exp.and_(
            *(
                statement(":sent is null", sent=self.sent_of(item))
                for item in self.mapping.identifiers
                if item.alone
            )
        )
        text = whys[0]
        for why in whys[1:]:
            text = exp.DPipe(this=text, expression=why)
        return statement("case when :nobody then nullif(substr(:text, 3), '') end", nobody=nobody, text=text)

    def json_of_known(self) -> exp.Expr:
        """The identifiers of the member `a` of `as_sent`, whether they are changed or not: as they are sent
        of who is, and of late ones else the texts."""
        is_changed = statement(
            ":key in (select c.key from :changed as c where c.operation <> 'remove')",
            key=self.key,
            changed=CHANGED,
        )
        values = {
            item.name: exp.Case(
                ifs=[exp.If(this=is_changed.copy(), true=self.sent_of(item))], default=item.of("a")
            )
            if item.late
            else item.of("a")
            for item in self.mapping.identifiers
        }
        return self.warehouse.json_object(
            {item.name: (values[item.name], item.type) for item in self.mapping.identifiers}
        )

    def renamed(self) -> exp.Expr:
        """Whether the member `a` of `model` has other identifiers than the state row `s`."""
        if not self.late:
            return statement("s.identifiers <> :identifiers", identifiers=self.json_of_identifiers())
        now = self.json_of_identifiers()
        return exp.paren(
            exp.or_(
                *(
                    statement(
                        ":before is distinct from :after",
                        before=self.warehouse.json_text(column("identifiers", of="s"), item.name),
                        after=self.warehouse.json_text(now.copy(), item.name),
                    )
                    for item in self.mapping.identifiers
                )
            )
        )

    def json_of_fields(self) -> exp.Expr:
        """The fields of the member `a`, and what goes along with them, as the text of a JSON object."""
        return self.warehouse.json_object(
            {item.name: (item.of("a"), item.type) for item in (*self.mapping.fields, *self.mapping.along)}
        )

    def still_theirs(self) -> exp.Expr:
        """Whether the member `a` of `model` has the identifiers of their own state row `s`."""
        same = statement(":identifiers = s.identifiers", identifiers=self.json_of_identifiers())
        if not self.late:
            return same
        unchanged = statement(
            "s.key not in (select c.key from :changed as c where c.key is not null)", changed=CHANGED
        )
        return exp.paren(exp.or_(unchanged, same))

    def holders(self) -> list[tuple[exp.Expr, exp.Query]]:
        """The recorded text in the state row `s` of each identifier by which somebody is found without any
        other, and a query of the values (`value`) that current members have of it."""
        return [
            (self._recorded(item), self._values_of(item)) for item in self.mapping.identifiers if item.alone
        ]

    def held_identifiers(self) -> list[tuple[Mapped, exp.Expr, exp.Expr]]:
        """Each identifier, its recorded text in the state row `s`, and whether it takes out nobody but whom
        it is recorded of."""
        return [
            (
                item,
                self._recorded(item),
                exp.paren(
                    statement(
                        ":text is not null and :text not in (select v.value from :holders as v)",
                        text=self._recorded(item),
                        holders=exp.Subquery(this=self._values_of(item)),
                    )
                    if item.alone
                    else statement(":text is not null", text=self._recorded(item))
                ),
            )
            for item in self.mapping.identifiers
        ]

    def _recorded(self, item: Mapped) -> exp.Expr:
        """The recorded text of an identifier in the state row `s`; null for a blank one, which an older
        version may have sent."""
        text = self.warehouse.json_text(column("identifiers", of="s"), item.name)
        if item.made is not None or item.expression == item.raw:
            return text
        return statement("case when :trimmed <> '' then :text end", trimmed=trimmed(text), text=text)

    def _values_of(self, item: Mapped) -> exp.Query:
        """What current members have of an identifier, as it is sent: of a late one, what changed members are
        to be sent, and what the others were."""
        now = select(
            "select distinct cast(:value as varchar) as value from :everyone as a where :value is not null",
            value=self.sent_of(item),
            everyone=self.as_sent(self.everyone) if item.late else self.everyone,
        )
        if not item.late:
            return now
        before = select(
            "select distinct :text as value from :unchanged as s where :text is not null",
            text=self._recorded(item),
            unchanged=self.unchanged,
        )
        return exp.union(now, before)
