"""Looks up identifiers by the text a user enters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlglot import exp

from revetl.errors import UsageError, WarehouseError
from revetl.identifiers.trimming import trimmed
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement, table

_SHOWN = 5


class GraphIdentifier(NamedTuple):
    """A row of the identity graph."""

    identifier_id: str
    type: str
    value: str
    canonical_id: str

    @property
    def named(self) -> str:
        """Return the identifier as `type:value`."""
        return f"{self.type}:{self.value}"


def relation_of(workspace: Workspace, warehouse: Warehouse, name: str) -> exp.Table:
    """Return the relation of one of the package's models. Raises UsageError if dbt doesn't know it,
    WarehouseError if it isn't built."""
    relations = workspace.manifest.relations()
    if name not in relations:
        raise UsageError(
            f"dbt has no model '{name}' here: it is part of revetl's package. Add the package to "
            "packages.yml and run `dbt deps`, or enable the model."
        )
    found = table(*relations[name])
    if not warehouse.exists(found):
        raise WarehouseError(
            f"{name} ({found.sql()}) does not exist in the warehouse. Run `dbt build --select +{name}`."
        )
    return found


def known_types(workspace: Workspace, warehouse: Warehouse) -> list[str]:
    """Return the identifier types in the rules, highest priority first."""
    rules = relation_of(workspace, warehouse, "int_revetl__identity_rules")
    rows = warehouse.rows(statement("select identifier_type from :rules as r order by priority", rules=rules))
    return [str(name) for (name,) in rows]


def check_type(kind: str | None, types: Iterable[str]) -> None:
    """Raises UsageError for a type that isn't in the rules."""
    if kind is not None and kind not in types:
        raise UsageError(f"--type {kind}: unknown identifier type. Known types: {', '.join(types)}.")


def identifiers_called(
    workspace: Workspace, warehouse: Warehouse, asked: str, kind: str | None = None
) -> list[GraphIdentifier]:
    """Return the identifiers that `asked` matches, of type `kind` if given: by exact value; else as
    `type:value`; else with the value trimmed, or in lowercase. Empty if there is none."""
    types = known_types(workspace, warehouse)
    prefix, colon, rest = asked.partition(":")
    of_type = colon and prefix.strip() in types and kind in (None, prefix.strip())
    typed = prefix.strip() if of_type else None
    tries = [(kind, [asked])]
    tries += [(typed, [rest]), (typed, _folded(rest))] if typed is not None else []
    tries += [(kind, _folded(asked))]
    graph = relation_of(workspace, warehouse, "int_revetl__identity_graph")
    for of, values in tries:
        found = _rows(warehouse, graph, "identifier_value", values)
        if found := [each for each in found if of in (None, each.type)]:
            return found
    return []


def identifiers_by_id(
    workspace: Workspace, warehouse: Warehouse, identifier_id: str
) -> list[GraphIdentifier]:
    """Return the identifier with an id, such as a canonical id: at most one."""
    graph = relation_of(workspace, warehouse, "int_revetl__identity_graph")
    return _rows(warehouse, graph, "identifier_id", [identifier_id.strip().lower()])


def listed(found: Iterable[GraphIdentifier]) -> str:
    """Format identifiers for a sentence: the first few, and how many more."""
    names = [each.named for each in found]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _folded(value: str) -> list[str]:
    return list(dict.fromkeys((trimmed(value), value.lower(), trimmed(value).lower())))


def _rows(warehouse: Warehouse, graph: exp.Table, column: str, values: list[str]) -> list[GraphIdentifier]:
    test = exp.In(this=exp.column(column, table="g"), expressions=[exp.convert(value) for value in values])
    rows = warehouse.rows(
        statement(
            "select identifier_id, identifier_type, identifier_value, canonical_id from :graph as g "
            "where :test order by identifier_type, identifier_value",
            graph=graph,
            test=test,
        )
    )
    return [GraphIdentifier(*row) for row in rows]
