"""Map an audience's columns to a destination's fields and identifiers, as SQL expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sqlglot import exp

from revetl.config.events import cased
from revetl.config.models import SyncConfig
from revetl.destinations.base.destination import Destination, Identifier
from revetl.destinations.base.records import digest
from revetl.errors import UsageError, nearest
from revetl.identifiers.normalize import NO_VALUES, RULES, Format
from revetl.identifiers.trimming import TRIMMABLE_CHARACTERS
from revetl.mapping.events import (
    CALLS,
    MESSAGE_TYPE,
    PROPERTIES,
    ROW,
    TRACK,
    event_mapping_of,
)
from revetl.mapping.internal_columns import without_internal
from revetl.warehouse.json_paths import with_members
from revetl.warehouse.templates import column, parse_scalar, statement

ALONG = "$"
"""The prefix of names that accompany the fields of a spooled record."""

TIMESTAMP = "$timestamp"
"""The name of an event's time among the fields of a spooled record."""


@dataclass(frozen=True)
class MappedField:
    """A mapped field or identifier: the destination's name, the expression, and the type of its value.

    Of an identifier, `raw` is the source expression, `made` the normalized value before hashing (by the rule
    `hashed`, if any), and `kind` the expected kind of value, for errors. `late`: the runner finishes the
    value, with the library versions in `version`. `alone`: it identifies a person without other identifiers.
    """

    name: str
    expression: exp.Expr
    type: str
    raw: exp.Expr | None = None
    made: exp.Expr | None = None
    hashed: str | None = None
    alone: bool = True
    version: str = ""
    late: bool = False
    kind: str = "identifier"

    def of(self, alias: str) -> exp.Expr:
        """Return the expression over the table `alias`."""
        return _over(self.expression, alias)

    def steps(self, alias: str) -> tuple[exp.Expr, exp.Expr, exp.Expr]:
        """Return the raw, normalized and sent values over the table `alias`."""
        assert self.raw is not None
        return _over(self.raw, alias), self.usable(alias), self.of(alias)

    def usable(self, alias: str) -> exp.Expr:
        """Return the value before hashing over the table `alias`; null if it isn't a valid identifier."""
        return _over(self.expression if self.made is None else self.made, alias)

    def given(self, alias: str) -> exp.Expr:
        """Return the source text over the table `alias`; null if blank."""
        raw = _over(self.expression if self.raw is None else self.raw, alias)
        return statement("nullif(:text, '')", text=trimmed(raw)) if _may_be_blank(self.type) else raw

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that the expression reads."""
        return frozenset(node.name for node in self.expression.find_all(exp.Column) if _is_own(node))

    def over(self, value: exp.Expr) -> exp.Expr:
        """Return the expression with its columns replaced by a value."""
        return self.expression.transform(
            lambda node: value if isinstance(node, exp.Column) and _is_own(node) else node
        )


@dataclass(frozen=True)
class FieldMapping:
    """The mapping of a sync's rows.

    `identifiers` and `fields` are sorted by name, so that reordering them isn't a change. `along` accompanies
    the fields without being part of the row hash: the time of an event, and the columns it is built from.
    `dropped` are fields hidden from the destination; `ways` are the sets of identifiers that suffice for the
    destination to identify a person.
    """

    key: str
    identifiers: tuple[MappedField, ...]
    fields: tuple[MappedField, ...]
    along: tuple[MappedField, ...] = ()
    dropped: tuple[str, ...] = ()
    ways: tuple[frozenset[str], ...] = ()

    @property
    def found_by(self) -> tuple[frozenset[str], ...]:
        """The sufficient sets of identifiers that are mapped, smallest first."""
        names = {item.name for item in self.identifiers}
        found = (each for each in self.ways if each <= names)
        return tuple(sorted(found, key=lambda each: (len(each), sorted(each))))

    @property
    def by_key(self) -> bool:
        """Whether the audience's key is the only identifier."""
        return len(self.identifiers) == 1 and column(self.key) in (
            self.identifiers[0].expression,
            # A normalized identifier may have the same value for different keys.
            self.identifiers[0].raw if self.identifiers[0].made is None else None,
        )

    @property
    def late(self) -> tuple[MappedField, ...]:
        """The identifiers whose values the runner finishes."""
        return tuple(item for item in self.identifiers if item.late)

    @property
    def is_late(self) -> bool:
        """Whether the runner finishes any identifier."""
        return bool(self.late)

    @property
    def fingerprint(self) -> str:
        """A digest of the mapped names and types. Row hashes cover typed values only, so renamed fields and
        changed types must change the fingerprint."""
        kinds = {"identifier": self.identifiers, "field": self.fields}
        names = [f"{kind}:{item.name}:{item.type.lower()}" for kind, items in kinds.items() for item in items]
        return digest(*names)[:8]

    @property
    def versions(self) -> str:
        """The versions of the normalization on the runner; empty if there is none."""
        return " ".join(sorted({item.version for item in self.identifiers if item.version}))

    def hashed(self) -> list[MappedField]:
        """Return what a row hash covers. The key isn't included, because rows are joined on it."""
        return [*(() if self.by_key else self.identifiers), *self.fields]

    def typed(self, types: Mapping[str, str]) -> FieldMapping:
        """Return a copy with the missing types filled in from `types`, by `kind:name`."""

        def fill(kind: str, items: tuple[MappedField, ...]) -> tuple[MappedField, ...]:
            return tuple(replace(item, type=item.type or types[f"{kind}:{item.name}"]) for item in items)

        return replace(
            self, identifiers=fill("identifier", self.identifiers), fields=fill("field", self.fields)
        )

    def untyped(self) -> dict[str, exp.Expr]:
        """Return the expressions whose type only the engine knows, by `kind:name`."""
        kinds = {"identifier": self.identifiers, "field": self.fields}
        return {
            f"{kind}:{item.name}": item.expression
            for kind, items in kinds.items()
            for item in items
            if not item.type
        }


def make_mapping(
    key: str, sync: SyncConfig, destination: Destination, columns: Mapping[str, str], place: str
) -> FieldMapping:
    """Map a sync to a model's `columns` (name to type).

    Without `fields`, every column except the key and internal ones is sent under its own name. Without
    `identifiers`, the key is the destination's first identifier. Raises MissingColumn for an unknown column
    and UsageError for other errors, with `place`, the field and the nearest name.
    """
    if key not in columns:
        raise MissingColumn(f"{place}: key: the model has no column '{key}'. {nearest(key, columns)}")
    known = {identifier.name: identifier for identifier in destination.known_by}
    check_names(sync, destination, place)
    identifiers = sync.identifiers or default_identifiers(destination, key, columns)
    fields = sync.fields
    if fields is None:
        # An erasure only sends identifiers.
        sends_fields = sync.mode != "delete"
        fields = default_fields(destination, key, columns, identifiers, sync.mode) if sends_fields else {}
        if sync.event_column is not None:
            # The properties are the fields. Without a column of properties, the fields are all columns except
            # the identifiers, and the name, time and call of the event.
            envelope = {sync.event_column, sync.timestamp, *identifiers.values()}
            envelope.add(sync.message_type or MESSAGE_TYPE)
            flat = PROPERTIES not in {name.lower() for name in columns}
            fields = {name: text for name, text in fields.items() if flat and text not in envelope}
        fields = {cased(name, sync.casing.fields): text for name, text in fields.items()}
    fields = {
        name: text for name, text in fields.items() if sync.fields is not None or name not in sync.constants
    }
    named = [*fields, *sync.constants]
    if sync.mode in _CREATING:
        for each in destination.declared:
            if each.required and each.name not in (*named, *identifiers):
                raise UsageError(
                    f"{place}: '{sync.to}' requires '{each.name}' to create a record. Map a column or an "
                    f"expression to it in `fields` ({each.name}: {each.column}), or use mode 'update'."
                )
    for option in ("set_if_empty", "archive"):
        for name in getattr(sync, option):
            if name not in named:
                raise UsageError(f"{place}: {option}: there is no field '{name}'. {nearest(name, named)}")
    known_by = tuple(map(_as_text, _mapped(identifiers, columns, f"{place}: identifiers")))
    for item in known_by:
        if item.type.upper().startswith(_NO_IDS) or item.type.endswith("]"):
            raise UsageError(
                f"{place}: identifiers.{item.name}: type {item.type} cannot be an identifier. "
                "Map a column of ids to it."
            )
    constants = (
        MappedField(name, exp.convert(value), _type_of(value)) for name, value in sync.constants.items()
    )
    return FieldMapping(
        key=key,
        identifiers=tuple(
            _in_region(made_alike(item, known[item.name]), destination.phone_region) for item in known_by
        ),
        fields=tuple(
            sorted((*_mapped(fields, columns, f"{place}: fields"), *constants), key=lambda item: item.name)
        ),
        along=_along(sync, destination, columns, place),
        ways=destination.found_by(sync.mode),
    )


def check_found(sync: SyncConfig, destination: Destination, mapping: FieldMapping, place: str) -> None:
    """Raise UsageError if the mapped identifiers never suffice to identify a person at the destination."""
    if mapping.found_by:
        return
    names = ", ".join(item.name for item in mapping.identifiers)
    ways = [" with ".join(sorted(each)) for each in sorted(mapping.ways, key=len)[:4]]
    raise UsageError(
        f"{place}: identifiers: in mode '{sync.mode}', '{sync.to}' cannot identify a record by {names} "
        f"alone. Also map {' or '.join(ways)}."
    )


def check_names(sync: SyncConfig, destination: Destination, place: str) -> None:
    """Check a mapping independently of the model's columns. Raises UsageError."""
    known = [identifier.name for identifier in destination.known_by]
    for name in sync.identifiers:
        if name not in known:
            raise UsageError(
                f"{place}: identifiers.{name}: '{sync.to}' does not support this identifier. "
                f"{nearest(name, known)}"
            )
    if sync.set_if_empty and not destination.can_set_if_empty:
        raise UsageError(
            f"{place}: set_if_empty: '{sync.to}' cannot detect whether a field is empty. Remove the option."
        )
    for name in sorted(sync.constants.keys() & (sync.fields or {}).keys()):
        raise UsageError(
            f"{place}: constants.{name}: '{name}' is also mapped in fields. Keep one of the two."
        )


_CREATING = ("mirror", "upsert", "insert", "archive")
"""The modes that create records."""


_NO_IDS = ("BOOL", "BIT", "STRUCT", "MAP", "ARRAY", "LIST", "ROW(", "RECORD")
"""Prefixes of types that can't be identifiers."""


class MissingColumn(UsageError):
    """A mapping references a column that the model doesn't have."""


def default_identifiers(destination: Destination, key: str, columns: Iterable[str]) -> dict[str, str]:
    """Return the identifiers of a sync without `identifiers`: the key as the identifier named like it, else
    the first one. That is the key, too, but for a value with a format, such as an email: that is in its
    own column, if the model has it. For a destination that matches by all identifiers, those whose column
    the model has."""
    known = destination.known_by
    there = {name.lower(): name for name in columns}
    if destination.matches_by_all:
        found = {each.name: there[each.column] for each in known if each.column in there}
        if any(each.alone for each in known if each.name in found):
            return found
    own = next((each for each in known if each.column == key.lower()), known[0])
    return {own.name: there.get(own.column, key) if own.has_format and own.column != key.lower() else key}


def default_fields(
    destination: Destination, key: str, columns: Iterable[str], identifiers: Mapping[str, str], mode: str
) -> dict[str, str]:
    """Return the fields of a sync without `fields`: every column except the key and internal ones, under the
    destination's name for it. Destinations with fixed fields get only those; destinations that match by all
    identifiers don't get identifiers as fields."""
    named = {each.column: each.name for each in destination.declared_in(mode)}
    used = {key, *(identifiers.values() if destination.matches_by_all else ())}
    return {
        named.get(name, name): name
        for name in without_internal(columns)
        if name not in used and (name in named or destination.takes_other_fields)
    }


def parse_typed(text: str, columns: Mapping[str, str], place: str) -> tuple[exp.Expr, str]:
    """Parse a column's name or a SQL expression over columns, with its type ('' if only the engine knows).
    Raises UsageError."""
    bound = parse_expression(text, columns, place)
    return bound, columns[bound.name] if isinstance(bound, exp.Column) else ""


def parse_expression(text: str, columns: Mapping[str, str], place: str) -> exp.Expr:
    """Parse a SQL expression over the columns of one row. `properties.category` is a member of a JSON column:
    JSON by itself, text inside an expression. Raises UsageError, and MissingColumn with `place` and the
    nearest column."""
    if text in columns:
        return column(text)
    folded = {name.lower(): name for name in columns}
    parsed = with_members(parse_scalar(text, place), folded)
    for used in parsed.find_all(exp.Column):
        if used.name.lower() not in folded:
            raise MissingColumn(
                f"{place}: the model has no column '{used.name}'. {nearest(used.name, columns)}"
            )

    def quote(node: exp.Expr) -> exp.Expr:
        return column(folded[node.name.lower()]) if isinstance(node, exp.Column) else node

    return parsed.transform(quote)


def _over(expression: exp.Expr, alias: str) -> exp.Expr:
    return expression.transform(
        lambda node: column(node.name, of=alias) if isinstance(node, exp.Column) and _is_own(node) else node
    )


def _is_own(node: exp.Expr) -> bool:
    """Whether a column is the model's. Subqueries read other tables, such as a hash's salt."""
    return node.find_ancestor(exp.Subquery) is None


def _mapped(items: Mapping[str, str], columns: Mapping[str, str], place: str) -> tuple[MappedField, ...]:
    return tuple(
        MappedField(name, *parse_typed(text, columns, f"{place}.{name}"))
        for name, text in sorted(items.items())
    )


def _as_text(item: MappedField) -> MappedField:
    """Read an identifier from a member of a JSON column as text, without JSON quotes."""
    if not isinstance(item.expression, exp.JSONExtract):
        return item
    member = item.expression
    return replace(item, expression=exp.JSONExtractScalar(this=member.this, expression=member.expression))


def trimmed(value: exp.Expr) -> exp.Expr:
    """Cast a value to text and trim whitespace and invisible characters."""
    text = exp.cast(value, "varchar")
    # Trimming so many characters takes 20 times as long as this check, which most values pass.
    return statement(
        "case when regexp_like(:text, '^ | $|[^ -~]') then :trim else :text end",
        text=text,
        trim=exp.Trim(this=text.copy(), expression=exp.convert(TRIMMABLE_CHARACTERS)),
    )


def _normalized(value: exp.Expr, rule: str, *, alone: bool = True, hashed: bool = False) -> exp.Expr:
    """Normalize a value by a rule; null if it isn't a valid identifier."""
    text = trimmed(value)
    bare = statement(RULES[rule].sql, "duckdb", value=text)
    if (wanted := RULES[rule].valid) is not None:
        # A value with the format isn't empty.
        test = _has_format(bare, wanted)
        return exp.Case(
            ifs=[exp.If(this=exp.or_(test, statement(_IS_HASH, made=bare)) if hashed else test, true=bare)]
        )
    made = statement("nullif(:made, '')", made=bare)
    if RULES[rule].literals and alone:
        return exp.Case(ifs=[exp.If(this=_is_no_literal(text), true=made)])
    return made


def _hash(made: exp.Expr, value: exp.Expr, rule: str) -> exp.Expr:
    """Hash a normalized value, unless it is a hash already."""
    if (wanted := RULES[rule].valid) is None:
        return statement(
            f"case when {_IS_HASH} then lower(:made) else :hash end",
            made=made,
            hash=exp.SHA2(this=made.copy(), length=exp.convert(256)),
        )
    # A hash never has the format, so each is tested once: engines don't reuse repeated expressions.
    bare = statement(RULES[rule].sql, "duckdb", value=trimmed(value))
    return statement(
        f"case when :valid then :hash when {_IS_HASH} then lower(:made) end",
        valid=_has_format(bare, wanted),
        hash=exp.SHA2(this=bare.copy(), length=exp.convert(256)),
        made=bare,
    )


_IS_HASH = "regexp_like(lower(:made), '^[0-9a-f]{64}$')"


def _has_format(value: exp.Expr, wanted: Format) -> exp.Expr:
    tests = [statement("regexp_like(:value, :pattern)", value=value, pattern=wanted.matches)]
    if wanted.never is not None:
        tests.append(statement("not regexp_like(:value, :pattern)", value=value, pattern=wanted.never))
    if wanted.length is not None:
        tests.append(statement("length(:value) <= :most", value=value, most=wanted.length))
    return exp.and_(*tests)


def _is_no_literal(text: exp.Expr) -> exp.Expr:
    return exp.not_(exp.In(this=text, expressions=[exp.convert(each) for each in ("", *NO_VALUES)]))


def _may_be_blank(kind: str) -> bool:
    """Whether values of a type can be blank texts or NaN. True for an unknown type."""
    return not kind or kind.upper().startswith(_TEXTS)


_TEXTS = (
    *("VARCHAR", "TEXT", "STRING", "CHAR", "NVARCHAR", "NCHAR", "BPCHAR", "CITEXT", "JSON", "VARIANT"),
    *("OBJECT", "SUPER", "DOUBLE", "FLOAT", "REAL"),
)


def made_alike(item: MappedField, identifier: Identifier) -> MappedField:
    """Normalize an identifier in the warehouse, null if it isn't valid, and hash it unless the runner has to
    finish it."""
    rule = identifier.hashed or identifier.normalised
    if rule is None:
        return _as_it_is(item, identifier)
    is_hashed = identifier.hashed is not None
    sent = made = _normalized(item.expression, rule, alone=identifier.alone, hashed=is_hashed)
    late = RULES[rule].late is not None
    if is_hashed and not late:
        sent = _hash(made, item.expression, rule)
    version = RULES[rule].version
    return MappedField(
        item.name,
        sent,
        "VARCHAR",
        raw=item.expression,
        made=made,
        hashed=identifier.hashed,
        alone=identifier.alone,
        late=late,
        kind=RULES[rule].kind,
        version=version() if version else "",
    )


def _in_region(item: MappedField, region: str | None) -> MappedField:
    """Add the default region to the kind of a phone number, for errors."""
    if not (item.late and item.kind == "phone number"):
        return item
    return replace(item, kind=f"phone number ({f'phone_region: {region}' if region else 'no phone_region'})")


def _as_it_is(item: MappedField, identifier: Identifier) -> MappedField:
    """Send an identifier unchanged, except for invalid values, which become null."""
    known = replace(item, raw=item.expression, alone=identifier.alone)
    if not _may_be_blank(item.type):
        return known
    text = trimmed(item.expression)
    if identifier.checked is not None:
        wanted = RULES[identifier.checked].valid
        assert wanted is not None
        known = replace(known, kind=RULES[identifier.checked].kind)
        test = _has_format(statement("lower(:text)", text=text), wanted)
    else:
        test = _is_no_literal(text) if identifier.alone else statement(":text <> ''", text=text)
    return replace(known, expression=exp.Case(ifs=[exp.If(this=test, true=item.expression)]))


def _along(
    sync: SyncConfig, destination: Destination, columns: Mapping[str, str], place: str
) -> tuple[MappedField, ...]:
    """Return the time of an event, and the columns that its name and fields are built from."""
    texts = {} if sync.timestamp is None else {TIMESTAMP: (sync.timestamp, f"{place}: timestamp")}
    if (events := event_mapping_of(sync, destination.type)) is not None:
        texts[ROW + events.column] = (events.column, f"{place}: event_column")
        texts |= {ROW + name: (name, place) for name in events.named(columns)}
        if sync.message_type not in (None, TRACK, *CALLS):
            texts[ROW + events.call] = (events.call, f"{place}: message_type")
        for event, rule in sync.events.items():
            texts |= {ROW + name: (name, f"{place}: events.{event}") for name in rule.columns()}
    return tuple(MappedField(name, *parse_typed(text, columns, at)) for name, (text, at) in texts.items())


def _type_of(value: object) -> str:
    return {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}.get(type(value), "VARCHAR")
