"""The plan of a sync (diff, causes, guards), against the floor: scan and hash both tables once.

    python benchmarks/diff.py [--rows 10000000] [--json]

1 % of the rows were added, 1 % removed and 1 % changed; six columns, of which five are sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from _report import Report, peak_mb, timed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import revetl  # noqa: E402
from revetl.project.workspace import Sync, Workspace  # noqa: E402
from revetl.sync.plan.diff import Diff  # noqa: E402
from revetl.sync.plan.eligibility import Members  # noqa: E402
from revetl.sync.plan.inputs import read_inputs  # noqa: E402
from revetl.sync.plan.plan import Plan, make_plan  # noqa: E402
from revetl.sync.state.tables import StateTables  # noqa: E402
from revetl.warehouse.duckdb import DuckDB  # noqa: E402
from revetl.warehouse.templates import table  # noqa: E402
from tests.helpers.project import ProjectFolder  # noqa: E402

_COLUMNS = """
    'u' || lpad(i::varchar, 9, '0') as user_id, 'user' || i || '@example.com' as email,
    (hash(i) % 10000) / 100.0 as ltv, (hash(i, 1) % 100)::int as orders,
    date '2026-01-01' + (hash(i, 2) % 300)::int as last_order, 'segment ' || (hash(i, 3) % 12) as segment
"""


def make_audience(folder: Path, rows: int) -> tuple[Workspace, Sync]:
    """A project with an audience of `rows`, and beside it the one it was before."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": "http://127.0.0.1/"}})
    project.sql(f"create table old as select {_COLUMNS} from range(0, {rows}) as numbers (i)")
    query = f"""
        select * exclude (ltv), case when hash(user_id) % 100 = 7 then ltv + 1 else ltv end as ltv
        from (select {_COLUMNS} from range({rows // 100}, {rows + rows // 100}) as numbers (i))
    """
    project.audience("audience", query, {"key": "user_id", "sync": [{"to": "crm"}]})
    opened = revetl.Project(folder)
    (sync,) = opened.select("audience")
    return opened.workspace, sync


def make_state(warehouse: DuckDB, diff: Diff) -> None:
    """The state that a sync of the older audience left."""
    old = replace(diff, members=Members(table("old")))
    hashed = warehouse.row_hash(diff.hashed).sql("duckdb")
    warehouse.connection.execute(
        f"""
        insert into revetl.revetl.sync_state
            (sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id)
        select 'audience.crm', user_id, {hashed}, '{diff.hash_by}', {old.identifiers.json_of_identifiers().sql("duckdb")},
            {old.json_of_fields().sql("duckdb")}, timestamp '2026-01-01', 'r1'
        from old as a
        """
    )
    warehouse.connection.execute("checkpoint")


def floor(warehouse: DuckDB) -> None:
    """Scan and hash both tables once."""
    for name in ("old", "audience"):
        query = f"select bit_xor(hash(user_id, email, ltv, orders, last_order, segment)) from {name}"
        warehouse.connection.execute(query).fetchall()


def plan(workspace: Workspace, sync: Sync, warehouse: DuckDB, tables: StateTables) -> Plan:
    """Every statement of a plan, as a run makes it."""
    diff = read_inputs(workspace, sync, workspace.destination(sync), warehouse, tables)
    assert isinstance(diff, Diff)
    return make_plan(workspace, sync, diff)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace, sync = make_audience(Path(folder), arguments.rows)
        warehouse = workspace.warehouse()
        assert isinstance(warehouse, DuckDB)
        tables = StateTables("revetl", warehouse.database)
        tables.create(warehouse)
        diff = read_inputs(workspace, sync, workspace.destination(sync), warehouse, tables)
        assert isinstance(diff, Diff)
        make_state(warehouse, diff)
        floor(warehouse)
        with timed() as lowest:
            floor(warehouse)
        with timed() as ours:
            made = plan(workspace, sync, warehouse, tables)
        assert made.add == made.remove == arguments.rows // 100, made
        Report(
            benchmark="diff",
            sizes={"rows": arguments.rows, **made.counts},
            seconds=ours.seconds,
            floor_seconds=lowest.seconds,
            ratio=ours.seconds / lowest.seconds,
            peak_mb=peak_mb(),
            goal="at most 4 times",
        ).print(arguments.json)
        warehouse.close()


if __name__ == "__main__":
    main()
