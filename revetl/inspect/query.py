"""One read-only statement on the project's warehouse, in its own dialect: `revetl sql`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlglot
from sqlglot import exp

from revetl.errors import UsageError, nearest
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import table

_REF = re.compile(r"\{\{\s*ref\(\s*(?:'[^']*'\s*,\s*)?'([^']+)'\s*\)\s*\}\}")
_WRITES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.TruncateTable,
    exp.Copy,
    exp.Command,
    exp.Into,
    exp.Set,
    exp.Lock,
)
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class QueryResult:
    """The rows of a statement, and whether there are more than were fetched."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool


class Query:
    """An open connection for read-only statements."""

    def __init__(self, workspace: Workspace, warehouse: Warehouse) -> None:
        self._workspace = workspace
        self._warehouse = warehouse

    def run(self, text: str, *, limit: int) -> QueryResult:
        """Return up to `limit` rows of a statement. Raises UsageError for SQL that can't be parsed, several
        statements, and one that isn't a query; WarehouseError for what the engine refuses."""
        query = read_only_query(self._with_relations(text), self._warehouse.dialect)
        columns = tuple(self._warehouse.columns(query))
        rows = list(islice(self._rows(query), limit + 1))
        return QueryResult(columns, tuple(rows[:limit]), len(rows) > limit)

    def _rows(self, query: exp.Query) -> Iterator[tuple[Any, ...]]:
        for batch in self._warehouse.stream(query, _BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _with_relations(self, text: str) -> str:
        """Replace `{{ ref('model') }}` by the model's relation. No other Jinja is rendered."""
        relations = self._workspace.manifest.relations()

        def relation(found: re.Match[str]) -> str:
            if found[1] not in relations:
                raise UsageError(f"dbt has no model '{found[1]}'. {nearest(found[1], relations)}")
            return table(*relations[found[1]]).sql(self._warehouse.dialect)

        made = _REF.sub(relation, text) if "{{" in text else text
        if "{{" in made or "{%" in made:
            raise UsageError(
                "Of Jinja, only {{ ref('model') }} is rendered here. Write the names of relations, as "
                "`dbt compile` prints them."
            )
        return made


@contextmanager
def querying(workspace: Workspace) -> Iterator[Query]:
    """Open the warehouse for statements that only read."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        if workspace.target.type == "postgres":
            # A function may write, which no parser sees.
            warehouse.run(exp.Command(this="SET", expression="default_transaction_read_only = on"))
        yield Query(workspace, warehouse)
    finally:
        warehouse.close()


def read_only_query(text: str, dialect: str) -> exp.Query:
    """Parse one query. Raises UsageError for anything else, before it reaches the warehouse."""
    try:
        parsed = [each for each in sqlglot.parse(text, dialect=dialect) if each is not None]
    except sqlglot.errors.SqlglotError as error:
        where = getattr(error, "errors", None) or [{}]
        line = where[0].get("line")
        at = f", line {line}" if line else ""
        reason = where[0].get("description") or str(error).splitlines()[0]
        raise UsageError(f"SQL{at}: {reason.rstrip('.')}. Fix the statement.") from None
    if len(parsed) != 1:
        raise UsageError(f"There are {len(parsed)} statements. Write one query.")
    (found,) = parsed
    write = next((each for each in found.walk() if isinstance(each, _WRITES)), None)
    if write is not None or not isinstance(found, exp.Query):
        named = (write or found).key.upper()
        raise UsageError(
            f"{named} isn't a query, and `revetl sql` only reads. Write a SELECT; use dbt or "
            "your warehouse's own client to change data."
        )
    return found
