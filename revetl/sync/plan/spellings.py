"""Match members against lists of people by normalized identifiers: `+1 650 555 1212` matches `(650)
555-1212`.

Values are compared as sent, by the rule of the destination's identifier: normalized, and hashed if the
destination accepts hashes. Identifiers that SQL can normalize need only a join. Identifiers that need a
library use two temporary tables: `revetl_listed`, the values of the lists, and `revetl_spelled`, the texts of
the few members that end like a listed value (`Ends`). A listed hash has no such ending. If a list may have
hashes, the texts of changed members are read, which a diff normalizes anyway; the sent values of unchanged
members are in the state.
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
"""Kinds of identifiers that belong to one person, even if a destination needs more to match somebody."""
_STANDARD = (("email", "email"), ("phone", "e164"))
"""Column names that imply an identifier, with its normalization rule."""
_AS_WRITTEN = ("email", "lower", "text")
"""Rules that do no more than `eligibility.alike`."""


@dataclass(frozen=True)
class ComparedIdentifier:
    """An identifier to compare, with the audience `columns` it is mapped from.

    `sent_as` is its name in the state; None if the state has no sent value for it.
    """

    item: MappedField
    identifier: Identifier
    columns: frozenset[str]
    sent_as: str | None = None

    @property
    def rule(self) -> str:
        """The normalization rule."""
        return self.identifier.hashed or self.identifier.normalised or ""

    @property
    def is_hashed(self) -> bool:
        """Whether the destination receives hashes."""
        return self.identifier.hashed is not None

    @property
    def is_as_written(self) -> bool:
        """Whether trimming and lowercasing is enough to compare values."""
        return self.rule in _AS_WRITTEN

    def made_of(self, value: exp.Expr) -> exp.Expr:
        """Return the sent value for an expression; for a late identifier, the text to normalize."""
        plain = made_alike(MappedField(self.item.name, column("value"), "VARCHAR"), self.identifier)
        return plain.over(value)


@dataclass(frozen=True)
class ListOfPeople:
    """Values to compare an identifier with: `value` and `since` of the rows `s` of a relation where `listed`
    is true.

    `has_hashes` is true if some values may be hashes.
    """

    spelled: ComparedIdentifier
    relation: exp.Table
    value: exp.Expr
    listed: exp.Expr
    since: exp.Expr
    has_hashes: bool = False


@dataclass(frozen=True)
class UnchangedCondition:
    """The condition that member `a` is unchanged, over row `h` of the state."""

    state: exp.Table
    key: exp.Expr
    test: exp.Expr


Match = tuple[exp.Expr, exp.Select]
"""An expression over member `a`, and the query (`value`, `since`) to compare it with."""


def spelled_of(
    mapping: FieldMapping,
    sent: FieldMapping,
    destination: Destination,
    columns: Collection[str],
    identified: Mapping[str, str],
) -> list[ComparedIdentifier]:
    """Return the identifiers that are normalized for a destination.

    First the identifiers that the sync maps, then those of columns that are named like an identifier or that
    one is taken from (`identified`). `email` and `phone` are always normalized, even if the destination
    accepts any text. `sent` is the mapping with PII rules applied.
    """
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
    """Return, by list, the comparisons that match members on it.

    Loads `revetl_listed` and `revetl_spelled` if an identifier needs a library.
    """
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
    """Name a list's values in the temporary tables."""
    return f"list {at}"


def _reads_all(each: ListOfPeople) -> bool:
    """Test whether all texts must be read, because their endings cannot rule out a match.

    Hashes in a list are only compared with hashes if the identifier is not sent.
    """
    if RULES[each.spelled.rule].ends is None:
        return True
    return each.has_hashes and each.spelled.is_hashed and each.spelled.sent_as is not None


def _finisher(spelled: ComparedIdentifier, region: str | None) -> Finish:
    return partial(finish, spelled.rule, region=region, hashed=spelled.is_hashed)


def _load_listed(warehouse: Warehouse, late: dict[int, ListOfPeople], region: str | None) -> None:
    """Load the distinct values of lists into `revetl_listed` (name, raw, sent, ending)."""
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
    """Return the sent value of a listed text, and the ending of the texts that can match it."""
    ends = RULES[spelled.rule].ends
    if ends is None or (spelled.is_hashed and len(raw) == _HASH):
        return finish(spelled.rule, raw, region, hashed=spelled.is_hashed), None
    plain = finish(spelled.rule, raw, region, hashed=False)
    if plain is None:
        return None, None
    return hashlib.sha256(plain.encode()).hexdigest() if spelled.is_hashed else plain, ends.end_of(plain)


def _texts(at: int, each: ListOfPeople, model: exp.Table, unchanged: UnchangedCondition | None) -> exp.Select:
    """Query the distinct texts of members who may be on a list."""
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
    """Test whether a text ends like a listed value, or must be normalized to find out."""
    ends = RULES[each.spelled.rule].ends
    assert ends is not None
    digits = statement(ends.sql, "duckdb", text=text)
    # Hashes are compared as they are.
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
