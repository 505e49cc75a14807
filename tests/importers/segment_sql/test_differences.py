"""Words that engines mean differently: what is mapped selects the same rows, and the rest is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest
import yaml

from revetl.errors import UsageError
from tests.governance.rendering import Renderer
from tests.helpers.backends import make_backend
from tests.helpers.project import ProjectFolder

Shown = Callable[[datetime], object]
NOW = datetime(2026, 3, 1, 12)
MOMENTS = [datetime(2025, 12, 20, 23, 59) + timedelta(hours=31 * n) for n in range(40)]


def from_sunday(first: int) -> Shown:
    return lambda moment: moment.isoweekday() % 7 + first


def months(moment: datetime) -> int:
    return (NOW.year - moment.year) * 12 + NOW.month - moment.month


def quarters(moment: datetime) -> int:
    return (NOW.year - moment.year) * 4 + (NOW.month - 1) // 3 - (moment.month - 1) // 3


MAPPED: list[tuple[str, str, Shown]] = [
    ("bigquery", "EXTRACT(DAYOFWEEK FROM timestamp)", from_sunday(1)),
    ("snowflake", "DAYOFWEEK(timestamp)", from_sunday(0)),
    ("snowflake", "DAYOFWEEKISO(timestamp)", datetime.isoweekday),
    ("databricks", "DAYOFWEEK(timestamp)", from_sunday(1)),
    ("spark", "EXTRACT(DAYOFWEEK FROM timestamp)", from_sunday(1)),
    ("redshift", "DATE_PART(dow, timestamp)", from_sunday(0)),
    ("postgres", "EXTRACT(DOW FROM timestamp)", from_sunday(0)),
    ("postgres", "EXTRACT(ISODOW FROM timestamp)", datetime.isoweekday),
    ("duckdb", "EXTRACT(DOW FROM timestamp)", from_sunday(0)),
    ("duckdb", "isodow(timestamp)", datetime.isoweekday),
    ("snowflake", "DATEDIFF('month', timestamp, CURRENT_TIMESTAMP)", months),
    ("redshift", "DATEDIFF(month, timestamp, GETDATE())", months),
    ("bigquery", "DATE_DIFF(CURRENT_DATE(), DATE(timestamp), QUARTER)", quarters),
    ("duckdb", "date_diff('year', timestamp, current_timestamp)", lambda moment: NOW.year - moment.year),
    ("bigquery", "DATE_DIFF(CURRENT_DATE(), DATE(timestamp), DAY)", lambda at: (NOW.date() - at.date()).days),
]
REFUSED = [
    ("bigquery", "duckdb", "EXTRACT(WEEK FROM timestamp) = 1", "weeks of the year are numbered differently"),
    ("snowflake", "postgres", "WEEK(timestamp) = 1", "weeks of the year are numbered differently"),
    ("bigquery", "duckdb", "DATE_DIFF(CURRENT_DATE(), DATE(timestamp), WEEK) < 2", "differences in WEEK"),
    ("snowflake", "duckdb", "DATEDIFF('week', timestamp, CURRENT_DATE) < 2", "count weeks between two times"),
    ("databricks", "duckdb", "DATEDIFF(MONTH, timestamp, CURRENT_TIMESTAMP()) < 2", "count months between"),
    ("snowflake", "spark", "DATEDIFF('hour', timestamp, CURRENT_TIMESTAMP) < 2", "count hours between"),
    (
        "redshift",
        "duckdb",
        "LENGTH(event) / 2 = 3",
        "is a whole number in redshift, and a fraction in duckdb",
    ),
    ("postgres", "spark", "7 / 2 = 3", "is a whole number in postgres, and a fraction in spark"),
    ("snowflake", "postgres", "REGEXP_LIKE(event, 'abc')", "the pattern has to match the whole text"),
    ("snowflake", "spark", "GREATEST(1, NULL) = 1", "treat null differently in GREATEST"),
    ("postgres", "spark", "LOG(100) = 2", "LOG has another base there"),
    ("databricks", "duckdb", "MONTHS_BETWEEN(CURRENT_DATE, timestamp) < 2", "no MONTHS_BETWEEN"),
]
QUALIFY = """
SELECT user_id, timestamp FROM tracks
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY timestamp) = 1 LIMIT 5
"""


def imported(project: ProjectFolder, dialect: str, target: str, sql: str) -> str:
    """The model of an import for a target."""
    output = {"type": target, "schema": "s", "dbname": "d", "database": "d", "path": "revetl.duckdb"}
    profile = {"shop": {"target": "dev", "outputs": {"dev": output}}}
    (project.root / "profiles.yml").write_text(yaml.safe_dump(profile))
    file = project.root / "in.sql"
    file.write_text(sql)
    return project.open().import_audience(file, "it", dialect=dialect, force=True).model.read_text()


@pytest.mark.parametrize(("dialect", "target", "condition", "sentence"), REFUSED)
def test_what_has_no_equivalent_is_refused(
    project: ProjectFolder, dialect: str, target: str, condition: str, sentence: str
) -> None:
    sql = f"SELECT user_id FROM tracks WHERE {condition}"
    with pytest.raises(UsageError) as error:
        imported(project, dialect, target, sql)
    assert sentence in str(error.value)
    assert imported(project, dialect, dialect, sql)


@pytest.mark.parametrize("target", ["postgres", "spark", "fabric"])
def test_a_limit_after_qualify_is_refused_where_there_is_none(project: ProjectFolder, target: str) -> None:
    with pytest.raises(UsageError, match="there is no QUALIFY, after which come LIMIT"):
        imported(project, "snowflake", target, QUALIFY)
    assert "qualify" in imported(project, "snowflake", "duckdb", QUALIFY)


QUERY = f"""
select {{}} from (values {", ".join(f"(timestamp '{moment}')" for moment in MOMENTS)}) as t (timestamp)
order by timestamp
"""
NAMES = {
    "days_between": ("earlier", "later"),
    "start_of": ("unit", "moment"),
    "seconds_between": ("earlier", "later"),
    "type_of": ("name",),
}


def asked(engine: str, expression: str, folder: Path) -> list[int]:
    """The value of an expression for every moment."""
    if engine == "postgres":
        rows = make_backend("postgres", folder).sql(QUERY.format(expression))
    else:
        rows = duckdb.connect().execute(QUERY.format(expression)).fetchall()
    return [int(value) for (value,) in rows]


@dataclass(frozen=True)
class Target:
    """An engine that imports are for."""

    name: str
    renderer: Renderer

    def rendered(self, text: str) -> str:
        """SQL with the package's macros."""

        def called(macro: str) -> Callable[..., str]:
            def call(*given: str) -> str:
                arguments = dict(zip(NAMES[macro], given, strict=True))
                return str(self.renderer._call(macro, **arguments)).strip()

            return call

        macros: dict[str, Any] = {macro: called(macro) for macro in NAMES}
        macros["as_of"] = lambda: f"timestamp '{NOW}'"
        return jinja2.Environment().from_string(text).render(revetl=macros)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """An engine, and its macros. dbt keeps one engine's at a time."""
    return Target(request.param, Renderer(tmp_path_factory.mktemp("macros"), request.param))


def _name(value: object) -> str:
    """A name that is the same in every process, which that of a function is not."""
    return value[:40] if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "expression", "expected"), MAPPED, ids=_name)
def test_what_is_mapped_has_the_same_values(
    project: ProjectFolder, target: Target, dialect: str, expression: str, expected: Shown, tmp_path: Path
) -> None:
    model = imported(project, dialect, target.name, f"SELECT user_id FROM tracks WHERE {expression} = 99")
    translated = model[model.index("chosen as") :].partition("where")[2].partition("= 99")[0]
    values = [expected(moment) for moment in MOMENTS]
    assert asked(target.name, target.rendered(translated), tmp_path) == values
    if dialect in ("duckdb", "postgres") and "current" not in expression:
        assert asked(dialect, expression, tmp_path) == values
