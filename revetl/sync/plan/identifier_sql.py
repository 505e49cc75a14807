"""Identifiers in a diff, as SQL: what is sent of a member's, who else has one, and which are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from revetl.mapping.fields import FieldMapping, MappedField, trimmed
from revetl.sync.plan.eligibility import Members, alike, suppressed_by
from revetl.sync.plan.late_identifiers import (
    CHANGED,
    LATE,
    sent_column,
    with_sent,
)
from revetl.sync.plan.suppressed import listed_as
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.json_concat import kind_of
from revetl.warehouse.templates import column, select, statement


@dataclass(frozen=True)
class IdentifierSql:
    """What a diff knows of identifiers. `key` is the key of the member `a`; `held` is the state's rows,
    `unchanged` those of members who are as the destination has them, and `everyone` the members among whom
    somebody may hold an identifier that another had. `removes`: whether who left is taken out."""

    warehouse: Warehouse
    tables: StateTables
    sync: str
    members: Members
    mapping: FieldMapping
    key: exp.Expr
    held: exp.Table | exp.Subquery
    unchanged: exp.Subquery
    everyone: exp.Table | exp.Subquery
    has_state: bool
    removes: bool

    @property
    def late(self) -> tuple[MappedField, ...]:
        """The identifiers of which the runner makes what is sent."""
        return self.mapping.late

    def sent_of(self, item: MappedField) -> exp.Expr:
        """What is sent of an identifier of the member `a` of `model`; of a late one, of a changed member."""
        return column(sent_column(self.late.index(item)), of="a") if item.late else item.of("a")

    @property
    def model(self) -> exp.Table | exp.Subquery:
        """The members, with what is sent of late identifiers."""
        return self.as_sent(self.members.relation)

    def as_sent(self, relation: exp.Table | exp.Subquery) -> exp.Table | exp.Subquery:
        """Some members, with what is sent of late identifiers."""
        return with_sent(relation, {item.name: item.of("a") for item in self.late}) if self.late else relation

    def json_of_identifiers(self) -> exp.Expr:
        """What is sent of the identifiers of the member `a` of `model`, as the text of a JSON object."""
        return self._json_of({item: self.sent_of(item) for item in self.mapping.identifiers})

    def _json_of(self, values: Mapping[MappedField, exp.Expr]) -> exp.Expr:
        return self.warehouse.json_object(
            {item.name: (value, item.type) for item, value in values.items()},
            whole={item.name for item in values if _has_fractions(item.type)},
        )

    def json_of_known(self) -> exp.Expr:
        """The identifiers of the member `a` of `as_sent`, whether they are changed or not: as they are sent
        of who is, and of late ones else the texts."""
        is_changed = statement(
            ":key in (select c.key from :changed as c where c.operation <> 'remove')",
            key=self.key,
            changed=CHANGED,
        )
        return self._json_of(
            {
                item: exp.Case(
                    ifs=[exp.If(this=is_changed.copy(), true=self.sent_of(item))], default=item.of("a")
                )
                if item.late
                else item.of("a")
                for item in self.mapping.identifiers
            }
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

    def held_identifiers(self) -> list[tuple[MappedField, exp.Expr, exp.Expr]]:
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

    def _recorded(self, item: MappedField) -> exp.Expr:
        """The recorded text of an identifier in the state row `s`; null for a blank one, which an older
        version may have sent."""
        text = self.warehouse.json_text(column("identifiers", of="s"), item.name)
        if item.made is not None or item.expression == item.raw:
            return text
        return statement("case when :trimmed <> '' then :text end", trimmed=trimmed(text), text=text)

    def _values_of(self, item: MappedField) -> exp.Query:
        """What current members have of an identifier, as it is sent: of a late one, what changed members are
        to be sent, and what the others were."""
        value = self.sent_of(item)
        if _has_fractions(item.type):
            # As it is recorded: 1.50 and 1.5 are one number.
            value = self.warehouse.json_text(self._json_of({item: value}), item.name)
        now = select(
            "select distinct cast(:value as varchar) as value from :everyone as a where :value is not null",
            value=value,
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

    def is_invalid(self, item: MappedField) -> exp.Expr:
        """Whether the member `a` of `model` has an invalid identifier; if it is late, of a changed one."""
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
        by_name = {item.name: self.sent_of(item) for item in self.mapping.identifiers}
        lacking = [
            exp.or_(*(statement(":sent is null", sent=by_name[name]) for name in sorted(way)))
            for way in self.mapping.found_by
        ]
        nobody = exp.and_(*lacking) if lacking else statement("1 = 1")
        text = whys[0]
        for why in whys[1:]:
            text = exp.DPipe(this=text, expression=why)
        return statement("case when :nobody then nullif(substr(:text, 3), '') end", nobody=nobody, text=text)

    def late_texts(self) -> list[exp.Select]:
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

    def counted(self) -> exp.Subquery:
        """The members with what `counts` counts: each identifier that is usable is made once. Of a late one,
        what the state has of it for who is not changed."""
        made = select("select a.* from :model as a", model=self.model)
        for at, item in enumerate(self.mapping.identifiers):
            made = made.select(exp.alias_(self._usable(item), _usable_column(at), quoted=True))
        if self.late and self.has_state:
            unchanged = exp.alias_(self.unchanged, "u", table=True)
            made = made.join(unchanged, on=statement("u.key = :key", key=self.key), join_type="left")
        return exp.Subquery(this=made)

    def counts(self) -> list[exp.Expr]:
        """Of the member `a` of `counted`: whether they are found by usable identifiers, each usable one, and
        each that is given."""
        usable = [column(_usable_column(at), of="a") for at in range(len(self.mapping.identifiers))]
        given = [
            # What is usable is given; only of others the text is looked at.
            statement(
                "case when :usable is not null then 1 when :given is not null then 1 end",
                usable=each,
                given=item.given("a"),
            )
            for item, each in zip(self.mapping.identifiers, usable, strict=True)
        ]
        return [self._is_found(usable), *usable, *given]

    def _is_found(self, usable: Sequence[exp.Expr]) -> exp.Expr:
        """A value where the member is found by the usable identifiers, in their order; else null."""
        by_name = {item.name: each for item, each in zip(self.mapping.identifiers, usable, strict=True)}
        ways = self.mapping.found_by
        if not ways:
            return statement("cast(null as varchar)")
        if all(len(way) == 1 for way in ways):
            found = [value for name, value in by_name.items() if frozenset({name}) in ways]
            texts = [exp.cast(value, "varchar") for value in found]
            return found[0] if len(found) == 1 else exp.func("coalesce", *texts)
        whole = (
            exp.and_(*(statement(":value is not null", value=by_name[name]) for name in sorted(way)))
            for way in ways
        )
        return exp.Case(ifs=[exp.If(this=exp.or_(*whole), true=exp.convert(1))])

    def _usable(self, item: MappedField) -> exp.Expr:
        """A usable identifier of the member `a`; of a late one, what the state row `u` has, for who is not
        changed."""
        if not (item.late and self.has_state):
            return self.sent_of(item) if item.late else item.usable("a")
        held = self.warehouse.json_text(column("identifiers", of="u"), item.name)
        return exp.func("coalesce", self.sent_of(item), held)

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

    def _late_suppressed(self, item: MappedField, name: str, text: exp.Expr) -> exp.Select | None:
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


def _usable_column(at: int) -> str:
    """The column of `IdentifierSql.counted` with the usable identifier in a place."""
    return f"revetl_usable_{at}"


def _has_fractions(kind: str) -> bool:
    """Whether a type's numbers may have a fraction, so that an integer of it has more than one spelling."""
    found = kind_of(kind)
    return found.family == "float" or (found.family == "decimal" and found.scale > 0)
