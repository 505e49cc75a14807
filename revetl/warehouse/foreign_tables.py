"""Tables under our names that another tool made: revetl changes none of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from revetl.errors import UsageError


def check_ours(
    schema: str, name: str, columns: Mapping[str, str], there: Iterable[str], variable: str
) -> None:
    """Raises UsageError for a table that revetl did not make, by the names of the columns that are `there`.
    `columns` are ours, name to type: every version of a table of ours has had the first two, and the
    documents (JSON), which no other loader's has under these names. `variable` is the dbt variable of the
    schema."""
    found = {column.lower() for column in there}
    marks = [column for place, (column, kind) in enumerate(columns.items()) if place < 2 or kind == "json"]
    lacking = [column for column in marks if column not in found]
    if lacking:
        raise UsageError(
            f"{schema}.{name} is not a table of revetl: it has no column {', '.join(lacking)}. revetl "
            "changes no tables of others and adds none beside them. Give it a schema of its own "
            f"(dbt_project.yml: vars.revetl.{variable}: NAME); docs/how-to/adopting.md says how to use "
            "events that another tool loads."
        )
