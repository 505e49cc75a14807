"""What a destination says of itself as data: its limits, what it knows people by, and the fields it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Batch:
    """The most a request takes: records, bytes of body, bytes of one record's part of it."""

    records: int
    bytes: int | None = None
    record_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """The most a destination takes: `requests` in any `per_seconds`."""

    requests: float
    per_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name the destination knows people by, and the column it is taken from unless a sync says else.
    `hashed` names the rule (`revetl.normalising.RULES`) by which values are normalised and then hashed,
    `normalised` the one by which they are only normalised, `checked` the one whose format they must have
    while they are sent as they are. `alone` is whether somebody can be found by it without any other."""

    name: str
    column: str
    hashed: str | None = None
    normalised: str | None = None
    alone: bool = True
    checked: str | None = None


@dataclass(frozen=True, slots=True)
class IdentifierChoice:
    """An identifier that a type of destination may have, and the configuration with which it has it (`when`,
    by key). Where `named_by` names a key of the configuration, the identifier has the name that is given
    there."""

    identifier: Identifier
    when: Mapping[str, str] = field(default_factory=dict)
    named_by: str | None = None


def lacking(ways: Iterable[frozenset[str]], given: Set[str]) -> str:
    """Why nobody is found by the identifiers that are given, where any of `ways` would do, whole."""
    nobody = "it has no identifier the destination knows people by"
    if not given:
        return nobody
    halves = [each for each in ways if each & given]
    needed = [" and ".join(sorted(each - given)) for each in halves or ways]
    names = ", ".join(sorted(given))
    return f"{nobody}: {names} finds nobody without {' or '.join(needed[:3])}"


def looked_up_by(field: str, usual: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    """What people are known by where a configuration names the field that they are looked up by: the usual
    identifiers, if it is among them, else the field, with the values of `user_id`."""
    return tuple(each for each in usual if each.name == field) or (Identifier(field, column="user_id"),)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field that the destination is known to have, and the column it is taken from unless a sync says else.
    `type` is the kind of its values (metadata.py, values.py): what does not fit is converted, or refused by
    the field's name. `required`: it creates nobody without."""

    name: str
    column: str
    type: str = "text"
    required: bool = False
