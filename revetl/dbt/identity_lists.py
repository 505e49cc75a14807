"""The project's own lists of the identity rules, which two variables name; the error where one is missing."""

from __future__ import annotations

import re

from revetl.dbt.project_files import DbtProject

COLUMNS = {
    "cut_edges": ("left_type", "left_value", "right_type", "right_value", "cut_at", "reason"),
    "blocked_identifiers": ("identifier_type", "identifier_value", "reason"),
}
"""Variable to the columns of the list that it names."""

_NOT_THERE = re.compile(
    r"depends on a node named '(?P<name>\w+)'[^\n]*?(?:not found|disabled)"
    r"|Ref '(?P<named>\w+)' not found in project"
)


def missing_list(project: DbtProject, text: str) -> str | None:
    """The error where dbt does not find the seed, model or snapshot that a variable names as a list of the
    identity rules; None for any other error."""
    names = {each["name"] or each["named"] for each in _NOT_THERE.finditer(text)}
    for variable, columns in COLUMNS.items():
        name = project.variable(variable)
        if name and name in names:
            made = " (`revetl identity cut` creates a seed then)" if variable == "cut_edges" else ""
            return (
                f"dbt_project.yml: vars.revetl.{variable}: the project has no seed, model or snapshot "
                f"'{name}', or it is disabled. Create {project.seed_paths[0]}/{name}.csv with the line "
                f"`{','.join(columns)}`, or remove the variable{made}."
            )
    return None
