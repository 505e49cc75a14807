"""A wide audience, of which every column is sent, and of which half of the rows may have changed."""

from __future__ import annotations

from pathlib import Path

from revetl.sync.plan.plan import Plan
from tests.helpers.project import ProjectFolder

_VALUES = (
    "'text {at} of ' || i",
    "i * {at}",
    "(i + {at} / 100)::decimal(18, 2)",
    "i + {at} / 7::double precision",
    "timestamp '2026-01-01 00:00:00' + i * interval '1 minute'",
    "i % 2 = 0",
    "date '2026-01-01' + i::int",
)
"""Of several types; `i` is the row, `{at}` the column."""


def wide_query(columns: int, rows: int, *, changed: int = 0) -> str:
    """An audience of so many columns beside its key; the first column of the first `changed` rows has another
    value."""
    made = [f"{_VALUES[at % len(_VALUES)].format(at=at)} as column_{at}" for at in range(1, columns)]
    first = f"case when i < {changed} then 'new' else 'old' end as column_0"
    return f"select 'u' || i as id, {', '.join([first, *made])} from generate_series(0, {rows - 1}) as g (i)"


def wide_project(folder: Path, url: str, columns: int, rows: int, engine: str = "duckdb") -> ProjectFolder:
    """A project whose audience `wide` is mirrored at a webhook, without `fields:`."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": url}}, engine)
    project.audience("wide", wide_query(columns, rows), {"key": "id", "sync": [{"to": "crm"}]})
    return project


def plan_of(project: ProjectFolder) -> Plan:
    """The plan of its one sync."""
    (plan,) = project.open().plan()
    return plan
