"""Detect tables of other tools with the names of revetl's tables, which revetl never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from revetl.errors import UsageError


def check_ours(
    schema: str, name: str, columns: Mapping[str, str], there: Iterable[str], variable: str
) -> None:
    """Raise UsageError for a table that revetl didn't create, by the names of its columns (`there`).

    `columns` are revetl's, name to type. Every version of revetl's tables has the first two columns and the
    JSON columns, which no other loader has under these names. `variable` is the dbt variable of the schema.
    """
    found = {column.lower() for column in there}
    marks = [column for place, (column, kind) in enumerate(columns.items()) if place < 2 or kind == "json"]
    lacking = [column for column in marks if column not in found]
    if lacking:
        raise UsageError(
            f"{schema}.{name} is not a revetl table: it has no column {', '.join(lacking)}. revetl does not "
            "change tables of other tools or add tables to their schemas. Set a separate schema "
            f"(dbt_project.yml: vars.revetl.{variable}: NAME); docs/how-to/adopting.md explains how to "
            "use events that another tool loads."
        )
