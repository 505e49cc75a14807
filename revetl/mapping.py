"""From an audience's columns to a destination's names: what is sent, as SQL expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from revetl.config import SyncConfig
from revetl.destinations.base import Destination, Identifier
from revetl.destinations.records import digest
from revetl.errors import UsageError, nearest
from revetl.sql import column


@dataclass(frozen=True)
class Mapped:
    """A destination's name, the expression it is taken from, and the type of its value."""

    name: str
    expression: exp.Expr
    type: str

    def of(self, alias: str) -> exp.Expr:
        """The expression over the table `alias`."""

        def qualify(node: exp.Expr) -> exp.Expr:
            return column(node.name, of=alias) if isinstance(node, exp.Column) else node

        return self.expression.transform(qualify)


@dataclass(frozen=True)
class FieldMapping:
    """What a sync sends of a row. `identifiers` and `fields` are in the order of their names, so that
    writing them in another order is no change."""

    key: str
    identifiers: tuple[Mapped, ...]
    fields: tuple[Mapped, ...]

    @property
    def by_key(self) -> bool:
        """Whether the destination knows people by the audience's key and nothing else."""
        return len(self.identifiers) == 1 and self.identifiers[0].expression == column(self.key)

    @property
    def fingerprint(self) -> str:
        """Names the mapped names: row hashes cover values, so a renamed field must show here."""
        names = [f"{kind}:{item.name}" for kind, items in self._kinds().items() for item in items]
        return digest(*names)[:8]

    def hashed(self) -> list[Mapped]:
        """What a row hash covers: the key is left out, for it is what rows are joined on."""
        return [*(() if self.by_key else self.identifiers), *self.fields]

    def _kinds(self) -> Mapping[str, tuple[Mapped, ...]]:
        return {"identifier": self.identifiers, "field": self.fields}


def make_mapping(
    key: str, sync: SyncConfig, destination: type[Destination], columns: Mapping[str, str], place: str
) -> FieldMapping:
    """The mapping of a sync onto a model's `columns` (name to type).

    Without `fields`, every column but the key is sent under its own name; without `identifiers`, the
    destination's first identifier is the key. Raises UsageError naming `place`, the field, and the nearest
    column.
    """
    if key not in columns:
        raise UsageError(f"{place}: key: the model has no column '{key}'. {nearest(key, columns)}")
    known = {identifier.name for identifier in destination.identifiers}
    for name in sync.identifiers:
        if name not in known:
            raise UsageError(
                f"{place}: identifiers.{name}: '{sync.to}' knows nobody by that. {nearest(name, known)}"
            )
    fields = sync.fields if sync.fields is not None else {name: name for name in columns if name != key}
    identifiers = sync.identifiers or default_identifiers(destination.identifiers, key)
    return FieldMapping(
        key=key,
        identifiers=_mapped(identifiers, columns, f"{place}: identifiers"),
        fields=_mapped(fields, columns, f"{place}: fields"),
    )


def default_identifiers(identifiers: tuple[Identifier, ...], key: str) -> dict[str, str]:
    """The identifier whose own column is the key, else the first one, taken from the key."""
    own = next((identifier for identifier in identifiers if identifier.column == key), identifiers[0])
    return {own.name: key}


def _mapped(items: Mapping[str, str], columns: Mapping[str, str], place: str) -> tuple[Mapped, ...]:
    return tuple(
        Mapped(name, *_expression(text, columns, f"{place}.{name}")) for name, text in sorted(items.items())
    )


def _expression(text: str, columns: Mapping[str, str], place: str) -> tuple[exp.Expr, str]:
    """A column's name or a SQL expression over columns, and its type ('' when only the engine knows)."""
    if text in columns:
        return column(text), columns[text]
    try:
        parsed = sqlglot.parse_one(text, dialect="duckdb")
    except sqlglot.ParseError:
        raise UsageError(f"{place}: '{text}' is neither a column nor SQL. {nearest(text, columns)}") from None
    if parsed.find(exp.Query, exp.DDL, exp.DML, exp.Command, exp.Placeholder):
        raise UsageError(f"{place}: '{text}' is not an expression over columns. Put a query into the model.")
    folded = {name.lower(): name for name in columns}
    for used in parsed.find_all(exp.Column):
        if used.name.lower() not in folded:
            raise UsageError(f"{place}: the model has no column '{used.name}'. {nearest(used.name, columns)}")

    def quote(node: exp.Expr) -> exp.Expr:
        return column(folded[node.name.lower()]) if isinstance(node, exp.Column) else node

    bound = parsed.transform(quote)
    return bound, columns[bound.name] if isinstance(bound, exp.Column) else ""
