"""SQL over the identifiers in a diff: the values to send, the members who share one, and invalid ones."""

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
    """The SQL of a diff's identifiers.

    `key` is the key expression of member `a`. `held` is the sync's state rows, `unchanged` the state rows of
    members with no changes, and `everyone` the relation to search for other members with the same identifier.
    `removes` is true if members who left the audience are removed.
    """

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
        """Late identifiers: those normalized in Python rather than in SQL."""
        return self.mapping.late

    def sent_of(self, item: MappedField) -> exp.Expr:
        """Return the value to send for an identifier of member `a` of `model`; late ones only have it for
        changed members."""
        return column(sent_column(self.late.index(item)), of="a") if item.late else item.of("a")

    @property
    def model(self) -> exp.Table | exp.Subquery:
        """The members, with columns for the late identifiers' sent values."""
        return self.as_sent(self.members.relation)

    def as_sent(self, relation: exp.Table | exp.Subquery) -> exp.Table | exp.Subquery:
        """Add columns for the late identifiers' sent values to a relation of members."""
        return with_sent(relation, {item.name: item.of("a") for item in self.late}) if self.late else relation

    def json_of_identifiers(self) -> exp.Expr:
        """Return the sent identifiers of member `a` of `model`, as JSON text."""
        return self._json_of({item: self.sent_of(item) for item in self.mapping.identifiers})

    def _json_of(self, values: Mapping[MappedField, exp.Expr]) -> exp.Expr:
        return self.warehouse.json_object(
            {item.name: (value, item.type) for item, value in values.items()},
            whole={item.name for item in values if _has_fractions(item.type)},
        )

    def json_of_known(self) -> exp.Expr:
        """Return the identifiers of member `a` of `as_sent`, changed or not, as JSON.

        Late identifiers have their sent value for changed members and their raw text for the others.
        """
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
        """Test whether the identifiers of member `a` of `model` differ from those in state row `s`."""
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
        """Test whether member `a` of `model` still has the identifiers in their own state row `s`."""
        same = statement(":identifiers = s.identifiers", identifiers=self.json_of_identifiers())
        if not self.late:
            return same
        unchanged = statement(
            "s.key not in (select c.key from :changed as c where c.key is not null)", changed=CHANGED
        )
        return exp.paren(exp.or_(unchanged, same))

    def holders(self) -> list[tuple[exp.Expr, exp.Query]]:
        """Return (recorded text, query) pairs for the identifiers that match a person on their own.

        The text is the one in state row `s`; the query returns the values (`value`) of current members.
        """
        return [
            (self._recorded(item), self._values_of(item)) for item in self.mapping.identifiers if item.alone
        ]

    def held_identifiers(self) -> list[tuple[MappedField, exp.Expr, exp.Expr]]:
        """Return each identifier with its recorded text in state row `s` and a test that it is safe to remove
        by.

        An identifier is safe to remove by if it can match only the person it was recorded for.
        """
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
        """Return the text of an identifier in state row `s`; null for blank values, which older versions may
        have sent."""
        text = self.warehouse.json_text(column("identifiers", of="s"), item.name)
        if item.made is not None or item.expression == item.raw:
            return text
        return statement("case when :trimmed <> '' then :text end", trimmed=trimmed(text), text=text)

    def _values_of(self, item: MappedField) -> exp.Query:
        """Query the values of an identifier among current members, as sent.

        For a late identifier, these are the new values of changed members and the recorded values of the
        others.
        """
        value = self.sent_of(item)
        if _has_fractions(item.type):
            # Use the recorded spelling: 1.50 and 1.5 are the same number.
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
        """Test whether member `a` of `model` has an invalid identifier; late ones are only checked for
        changed members."""
        usable = self.sent_of(item) if item.late else item.usable("a")
        return statement(":given is not null and :usable is null", given=item.given("a"), usable=usable)

    def invalid(self) -> exp.Expr:
        """Return the reasons why identifiers of member `a` of `model` are invalid, with their values.

        Null if the remaining identifiers are enough to match the person.
        """
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
        """Query the texts of late identifiers to normalize.

        These are the texts of changed members and, if any member left, the texts in the suppression list.
        """
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
        """Return the members with the columns that `counts` reads, evaluating each usable identifier once.

        Late identifiers of unchanged members come from the state.
        """
        made = select("select a.* from :model as a", model=self.model)
        for at, item in enumerate(self.mapping.identifiers):
            made = made.select(exp.alias_(self._usable(item), _usable_column(at), quoted=True))
        if self.late and self.has_state:
            unchanged = exp.alias_(self.unchanged, "u", table=True)
            made = made.join(unchanged, on=statement("u.key = :key", key=self.key), join_type="left")
        return exp.Subquery(this=made)

    def counts(self) -> list[exp.Expr]:
        """Return the expressions to count over member `a` of `counted`.

        In order: whether usable identifiers match the member, each usable identifier, and each identifier
        with a value.
        """
        usable = [column(_usable_column(at), of="a") for at in range(len(self.mapping.identifiers))]
        given = [
            # A usable identifier always has a value; check the text only for the others.
            statement(
                "case when :usable is not null then 1 when :given is not null then 1 end",
                usable=each,
                given=item.given("a"),
            )
            for item, each in zip(self.mapping.identifiers, usable, strict=True)
        ]
        return [self._is_found(usable), *usable, *given]

    def _is_found(self, usable: Sequence[exp.Expr]) -> exp.Expr:
        """Return a non-null value if the usable identifiers, in mapping order, match the member; otherwise
        null."""
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
        """Return a usable identifier of member `a`; late ones of unchanged members come from state row
        `u`."""
        if not (item.late and self.has_state):
            return self.sent_of(item) if item.late else item.usable("a")
        held = self.warehouse.json_text(column("identifiers", of="u"), item.name)
        return exp.func("coalesce", self.sent_of(item), held)

    def suppressions(self) -> list[tuple[exp.Expr, exp.Subquery]]:
        """Return (value, list) pairs for the sent identifiers that have suppressions.

        The value is the one in state row `s`; the list is a subquery (`value`, `since`). A member who is
        removed and suppressed has `suppressed` as the cause, even if the model already filters suppressed
        people out. Suppressions match by the key and by the columns that identifiers are mapped from.
        """
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
        """Query the suppressed values (`value`, `since`) of a column; None if no suppressed type matches
        it."""
        kinds = self.members.suppressed_by.get(name)
        return suppressed_by(self.tables, kinds, None if made is None else alike(made)) if kinds else None

    def _late_suppressed(self, item: MappedField, name: str, text: exp.Expr) -> exp.Select | None:
        """Query the suppressed values (`value`, `since`) of a late identifier, as sent."""
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
    """Name the column of `IdentifierSql.counted` for the usable identifier at a position."""
    return f"revetl_usable_{at}"


def _has_fractions(kind: str) -> bool:
    """Test whether a numeric type can have fractions, so that the same integer can be spelled in several
    ways."""
    found = kind_of(kind)
    return found.family == "float" or (found.family == "decimal" and found.scale > 0)
