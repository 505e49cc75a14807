"""The spec of a destination as data: limits, identifiers, and fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Batch:
    """The maximum size of a request: records, bytes of body, bytes per record in it."""

    records: int
    bytes: int | None = None
    record_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The rate limit of a destination: `requests` in any `per_seconds`."""

    requests: float
    per_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier of the destination, and its default column. `hashed` names the rule
    (`revetl.normalising.RULES`) that normalizes values before hashing, `normalised` the one that only
    normalizes them, `checked` the one that validates values that are sent unchanged. `alone` is whether it is
    sufficient to find a person."""

    name: str
    column: str
    hashed: str | None = None
    normalised: str | None = None
    alone: bool = True
    checked: str | None = None

    @property
    def has_format(self) -> bool:
        """Whether its values have a format, such as emails and phone numbers."""
        return bool({self.hashed, self.normalised, self.checked} - {None, "text", "lower"})


@dataclass(frozen=True, slots=True)
class IdentifierChoice:
    """An identifier that a destination type supports, and the configuration (`when`, by key) that enables it.
    If `named_by` is a configuration key, the value of that key is the identifier's name."""

    identifier: Identifier
    when: Mapping[str, str] = field(default_factory=dict)
    named_by: str | None = None


def lacking(ways: Iterable[frozenset[str]], given: Set[str]) -> str:
    """Explain why the given identifiers find nobody, when a complete set of `ways` is needed."""
    nobody = "it has no identifier that the destination supports"
    if not given:
        return nobody
    halves = [each for each in ways if each & given]
    needed = [" and ".join(sorted(each - given)) for each in halves or ways]
    names = ", ".join(sorted(given))
    return f"{nobody}: {names} also needs {' or '.join(needed[:3])}"


def looked_up_by(field: str, usual: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    """Return the identifiers for a configured lookup field: the usual identifier if it is one of them, else
    the field itself, with the values of `user_id`."""
    return tuple(each for each in usual if each.name == field) or (Identifier(field, column="user_id"),)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field known to exist in the destination, and its default column. `type` is its value type
    (metadata.py, values.py): other values are converted, or rejected with the field's name. `required`:
    nobody can be created without it."""

    name: str
    column: str
    type: str = "text"
    required: bool = False
