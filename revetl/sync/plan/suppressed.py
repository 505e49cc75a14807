"""Match the types of suppressed identifiers to columns of an audience.

`revetl.suppressions` is filled by hand and by other systems: `Email`, `e-mail` and `EMAIL` all match the
column `email`. A type that no audience has is an error; otherwise everybody suppressed by it would still be
sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from revetl.dbt.column_lineage import CompiledColumns
from revetl.errors import UsageError, WarehouseError, nearest
from revetl.sync.state.tables import state_tables
from revetl.warehouse.templates import select

if TYPE_CHECKING:
    from revetl.destinations.base.destination import Destination
    from revetl.mapping.fields import FieldMapping
    from revetl.project.workspace import Workspace
    from revetl.warehouse import Warehouse

STANDARD = ("user_id", "email", "anonymous_id", "phone", "device_id", "advertising_id")
"""Identifier names built into identity resolution."""
CANONICAL_ID = "canonical_id"
"""The profile ID, by which privacy requests also suppress people."""
_UNMISTAKABLE = ("email", "phone")
"""Destination identifiers that define a column's type, regardless of its name."""

Kinds = Mapping[str, tuple[str, ...]]
"""Column to the matching types, as written in the list."""


def folded(name: str) -> str:
    """Fold a type or column name for comparison: lowercase, without separators."""
    return re.sub(r"[-_\s]", "", name).lower()


def kinds_by_column(kinds: Iterable[str], columns: Iterable[str], also: Mapping[str, str]) -> Kinds:
    """Return the types of each column, by its name and by the identifier mapped from it (`also`)."""
    written = [*kinds]
    found = {}
    for name in columns:
        names = {folded(name), folded(also.get(name, name))}
        if own := tuple(kind for kind in written if folded(kind) in names):
            found[name] = own
    return found


def identified_by(mapping: FieldMapping, destination: Destination) -> dict[str, str]:
    """Return column to identifier, for the identifiers whose names define their type."""
    standard = {each.name: each.column for each in destination.known_by}
    return {
        name: standard[item.name]
        for item in mapping.identifiers
        if standard.get(item.name) in _UNMISTAKABLE
        for name in item.columns
    }


def unmatched(kinds: Iterable[str], by_column: Kinds) -> list[str]:
    """Return the types that match no column."""
    matched = {kind for own in by_column.values() for kind in own}
    return [kind for kind in kinds if kind not in matched]


def check_kinds(
    workspace: Workspace, warehouse: Warehouse, kinds: Collection[str], columns: Collection[str] = ()
) -> None:
    """Raise UsageError for a type in the list that neither an audience nor identity resolution has."""
    known = {folded(name): name for name in (*STANDARD, CANONICAL_ID, *_declared(workspace), *columns)}
    unknown = [kind for kind in kinds if folded(kind) not in known]
    if not unknown:
        return
    audiences = workspace.audiences()
    compiled = CompiledColumns(workspace.manifest, workspace.dbt)
    built = warehouse.catalog([each.relation for each in audiences])
    for audience, found in zip(audiences, built, strict=True):
        names = found if found is not None else compiled.of(audience.model.unique_id)
        known |= {folded(name): name for name in names or ()}
    if sentences := [*_sentences((kind for kind in unknown if folded(kind) not in known), known)]:
        raise UsageError("\n".join(sentences))


def check_suppressions(workspace: Workspace) -> None:
    """Run `check_kinds` on the current suppression list, if the warehouse is readable."""
    try:
        warehouse = workspace.warehouse(read_only=True, lock_timeout=0)
    except WarehouseError:
        return
    try:
        suppressions = state_tables(workspace, warehouse.database).suppressions
        (there,) = warehouse.catalog([suppressions])
        if there is not None:
            query = select("select distinct s.identifier_type from :list as s", list=suppressions)
            check_kinds(workspace, warehouse, [str(kind) for (kind,) in warehouse.rows(query)])
    except WarehouseError:
        return
    finally:
        warehouse.close()


def listed_as(kinds: Iterable[str]) -> exp.Expr:
    """Test whether row `s` of the list has one of these types."""
    values = [exp.convert(kind) for kind in kinds]
    return exp.In(this=exp.column("identifier_type", table="s"), expressions=values)


def _sentences(unknown: Iterable[str], known: Mapping[str, str]) -> Iterator[str]:
    for kind in unknown:
        yield (
            f"revetl.suppressions: identifier_type '{kind}' is not a column of any audience, so nobody is "
            f"suppressed by it. {nearest(kind, known.values())} Correct it in the table, or delete its rows."
        )


def _declared(workspace: Workspace) -> list[str]:
    """Return the identifiers declared in the variable `identity`."""
    own = workspace.dbt.vars.get("revetl")
    given = (own if isinstance(own, Mapping) else {}).get("identity", workspace.dbt.vars.get("identity"))
    identifiers = given.get("identifiers") if isinstance(given, Mapping) else None
    return [str(name) for name in identifiers or ()]
