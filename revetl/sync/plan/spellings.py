"""Members and lists of people compared as a destination knows people: `+1 650 555 1212` is on a list that has
`(650) 555-1212`.

Values are compared as they are sent, by the rule of the destination's identifier: normalized, and hashed
where it takes hashes. What SQL normalizes is a join. For identifiers that take a library, two temporary
tables are loaded: `revetl_listed`, the values of the lists, and `revetl_spelled`, the texts of those members
that end as a listed value does (`Ends`), which are few of an audience. A listed hash has no such end: where
there may be any, the texts of changed members are read, which a diff normalizes anyway; what unchanged
members were sent is in the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pyarrow as pa
from sqlglot import exp

from revetl.destinations.base.destination import Destination, Identifier
from revetl.identifiers.normalize import RULES, finish
from revetl.identifiers.phones import LONG_END, SHORT_END
from revetl.mapping.fields import FieldMapping, MappedField, made_alike
from revetl.sync.plan.late_identifiers import Finish, load, union
from revetl.sync.plan.suppressed import folded
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    select,
    statement,
    table,
)

LISTED, SPELLED = table("revetl_listed"), table("revetl_spelled")
_BATCH, _HASH = 10_000, 64
_PERSONAL = ("email address", "phone number")
"""The kinds of identifiers that are of one person even where a destination asks for more to find somebody."""
_STANDARD = (("email", "email"), ("phone", "e164"))
"""Names that say what a column has, and the rules of that."""
_AS_WRITTEN = ("email", "lower", "text")
"""Rules that `membership.alike` goes as far as."""


@dataclass(frozen=True)
class ComparedIdentifier:
    """An identifier as it is compared, and the `columns` of the audience that it is made of. `sent_as` is its
    name in the state, where that has what is sent of it."""

    item: MappedField
    identifier: Identifier
    columns: frozenset[str]
    sent_as: str | None = None

    @property
    def rule(self) -> str:
        """The rule by which values are normalized."""
        return self.identifier.hashed or self.identifier.normalised or ""

    @property
    def is_hashed(self) -> bool:
        """Whether hashes are sent."""
        return self.identifier.hashed is not None

    @property
    def is_as_written(self) -> bool:
        """Whether values that are the same are so already when they are trimmed and in lower case."""
        return self.rule in _AS_WRITTEN

    def made_of(self, value: exp.Expr) -> exp.Expr:
        """What is sent of a value; of a late identifier, the text that it is made of."""
        plain = made_alike(MappedField(self.item.name, column("value"), "VARCHAR"), self.identifier)
        return plain.over(value)


@dataclass(frozen=True)
class ListOfPeople:
    """Values to compare an identifier with: `value` of the rows `s` of a relation that are `listed`, each
    with its `since`. `has_hashes`: some may be hashes."""

    spelled: ComparedIdentifier
    relation: exp.Table
    value: exp.Expr
    listed: exp.Expr
    since: exp.Expr
    has_hashes: bool = False


@dataclass(frozen=True)
class UnchangedCondition:
    """Who is sent nothing new: the state's row `h` of the member `a`, as a condition, and where it is."""

    state: exp.Table
    key: exp.Expr
    test: exp.Expr


Match = tuple[exp.Expr, exp.Select]
"""An expression over the member `a`, and a query of what it is compared with: `value`, `since`."""


def spelled_of(
    mapping: FieldMapping,
    sent: FieldMapping,
    destination: Destination,
    columns: Collection[str],
    identified: Mapping[str, str],
) -> list[ComparedIdentifier]:
    """The identifiers that a destination normalizes: those that a sync maps, then those of the columns named
    as one is, or that one is taken from (`identified`). `email` and `phone` are normalized even where the
    destination takes whatever it gets. `sent` is the mapping with what is hidden hidden."""
    known = {each.name: each for each in destination.known_by}
    found = []
    for item in mapping.identifiers:
        identifier = known[item.name]
        if item.made is not None and (item.alone or item.kind.startswith(_PERSONAL)):
            found.append(
                ComparedIdentifier(
                    item, identifier, item.columns, item.name if item in sent.identifiers else None
                )
            )
    used = {name for each in found for name in each.columns}
    others = [each for each in known.values() if each.alone and (each.hashed or each.normalised)]
    others += (Identifier(name, name, normalised=rule) for name, rule in _STANDARD)
    for name in columns:
        if name in used:
            continue
        for identifier in others:
            names = {folded(identifier.name), folded(identifier.column)}
            if names & {folded(name), folded(identified.get(name, name))}:
                item = made_alike(MappedField(identifier.name, column(name), "VARCHAR"), identifier)
                found.append(ComparedIdentifier(item, identifier, frozenset({name})))
                break
    return found


def matches(
    warehouse: Warehouse,
    lists: Sequence[ListOfPeople],
    model: exp.Table,
    region: str | None,
    unchanged: UnchangedCondition | None,
) -> list[list[Match]]:
    """By list, what finds the members who are on it. Leaves `revetl_listed` and `revetl_spelled` in the
    warehouse where an identifier takes a library."""
    late = {at: each for at, each in enumerate(lists) if each.spelled.item.late}
    if late:
        _load_listed(warehouse, late, region)
        finishers = {_name(at): _finisher(each.spelled, region) for at, each in late.items()}
        texts = [_texts(at, each, model, unchanged) for at, each in late.items()]
        load(warehouse, union(texts), finishers, SPELLED)
    return [
        [*_late_matches(warehouse, at, each, model, unchanged)] if at in late else [_match(each)]
        for at, each in enumerate(lists)
    ]


def _match(each: ListOfPeople) -> Match:
    listed = select(
        "select :value as value, min(:since) as since from :relation as s where :listed group by 1",
        value=each.spelled.made_of(each.value),
        since=each.since,
        relation=each.relation,
        listed=each.listed,
    )
    return each.spelled.item.of("a"), listed


def _late_matches(
    warehouse: Warehouse, at: int, each: ListOfPeople, model: exp.Table, unchanged: UnchangedCondition | None
) -> Iterator[Match]:
    parts = {
        "listed": LISTED,
        "spelled": SPELLED,
        "since": each.since,
        "relation": each.relation,
        "text": each.spelled.made_of(each.value),
        "of_list": each.listed,
        "name": _name(at),
        "model": model,
    }
    yield (
        each.spelled.item.of("a"),
        select(
            """
            select t.raw as value, min(:since) as since
            from :relation as s
            inner join :listed as l on l.name = :name and l.raw = :text
            inner join :spelled as t on t.name = :name and t.sent = l.sent
            where :of_list group by 1
            """,
            **parts,
        ),
    )
    if each.spelled.is_hashed:
        yield (
            statement("lower(:text)", text=each.spelled.item.of("a")),
            select(
                """
                select l.sent as value, min(:since) as since
                from :relation as s
                inner join :listed as l on l.name = :name and l.raw = :text
                where :of_list group by 1
                """,
                **parts,
            ),
        )
    if unchanged is not None and (name := each.spelled.sent_as) is not None and _reads_all(each):
        yield (
            unchanged.key,
            select(
                """
                select h.key as value, min(:since) as since
                from :relation as s
                inner join :listed as l on l.name = :name and l.raw = :text
                inner join :state as h on :sent = l.sent
                inner join :model as a on :unchanged
                where :of_list group by 1
                """,
                **parts,
                state=unchanged.state,
                sent=warehouse.json_text(column("identifiers", of="h"), name),
                unchanged=unchanged.test,
            ),
        )


def _name(at: int) -> str:
    """What the values of a list are called in the temporary tables."""
    return f"list {at}"


def _reads_all(each: ListOfPeople) -> bool:
    """Whether the end of a text does not tell that it is not on a list. Of an identifier that is not sent,
    hashes that are listed are only compared with hashes."""
    if RULES[each.spelled.rule].ends is None:
        return True
    return each.has_hashes and each.spelled.is_hashed and each.spelled.sent_as is not None


def _finisher(spelled: ComparedIdentifier, region: str | None) -> Finish:
    return partial(finish, spelled.rule, region=region, hashed=spelled.is_hashed)


def _load_listed(warehouse: Warehouse, late: dict[int, ListOfPeople], region: str | None) -> None:
    """Leave the different values of lists in `revetl_listed` (name, raw, sent, ending)."""
    texts = [
        select(
            "select distinct :name as name, :text as raw from :relation as s "
            "where :listed and :text is not null",
            name=_name(at),
            text=each.spelled.made_of(each.value),
            relation=each.relation,
            listed=each.listed,
        )
        for at, each in late.items()
    ]
    by_name = {_name(at): each.spelled for at, each in late.items()}
    schema = pa.schema([(name, pa.string()) for name in ("name", "raw", "sent", "ending")])
    batches = []
    for batch in warehouse.stream(union(texts), _BATCH):
        names, raws = ([str(value) for value in batch.column(at).to_pylist()] for at in (0, 1))
        rows = [_sent_and_ending(by_name[name], raw, region) for name, raw in zip(names, raws, strict=True)]
        sent, endings = zip(*rows, strict=True) if rows else ((), ())
        batches.append(
            pa.RecordBatch.from_arrays(
                [pa.array(each, pa.string()) for each in (names, raws, sent, endings)], schema=schema
            )
        )
    by: list[tuple[str, Literal["ascending", "descending"]]] = [("name", "ascending"), ("raw", "ascending")]
    warehouse.load(LISTED, pa.Table.from_batches(batches, schema=schema).sort_by(by))


def _sent_and_ending(
    spelled: ComparedIdentifier, raw: str, region: str | None
) -> tuple[str | None, str | None]:
    """What is sent of a listed text, and how the texts end of which the same is."""
    ends = RULES[spelled.rule].ends
    if ends is None or (spelled.is_hashed and len(raw) == _HASH):
        return finish(spelled.rule, raw, region, hashed=spelled.is_hashed), None
    plain = finish(spelled.rule, raw, region, hashed=False)
    if plain is None:
        return None, None
    return hashlib.sha256(plain.encode()).hexdigest() if spelled.is_hashed else plain, ends.end_of(plain)


def _texts(at: int, each: ListOfPeople, model: exp.Table, unchanged: UnchangedCondition | None) -> exp.Select:
    """The different texts of members who may be on a list."""
    text = each.spelled.item.of("a")
    made = select(
        "select distinct :name as name, :text as raw from :model as a where :text is not null",
        name=_name(at),
        text=text,
        model=model,
    )
    if not _reads_all(each):
        return made.where(_may_be_listed(at, each, text))
    if unchanged is None or each.spelled.sent_as is None:
        return made
    return made.where(
        statement(
            "not exists (select 1 from :state as h where :unchanged)",
            state=unchanged.state,
            unchanged=unchanged.test,
        )
    )


def _may_be_listed(at: int, each: ListOfPeople, text: exp.Expr) -> exp.Expr:
    """Whether a text ends as a listed value does, or has to be normalized to know."""
    ends = RULES[each.spelled.rule].ends
    assert ends is not None
    digits = statement(ends.sql, "duckdb", text=text)
    # A hash is compared as it is.
    odd = ":digits is null and length(:text) <> :hash" if each.spelled.is_hashed else ":digits is null"
    tests = [statement(f"({odd})", digits=digits, text=text, hash=_HASH)]
    tests += [
        statement(
            "right(:digits, :length) in (select l.ending from :listed as l "
            "where l.name = :name and length(l.ending) = :length)",
            digits=digits,
            length=length,
            listed=LISTED,
            name=_name(at),
        )
        for length in (LONG_END, SHORT_END)
    ]
    return exp.paren(exp.or_(*tests))
