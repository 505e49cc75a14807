"""The same work on several engines: the plan of an audience, and identity, as ratios to each engine's own scan.

    python benchmarks/engines.py [--rows 1000000] [--engines duckdb,postgres,spark] [--json]

1. Diff: the whole plan of `--rows` members, 6 columns; 1 % new, 1 % gone, 1 % changed. Floor: scan and hash the
   audience and its older self once.
2. Identity: every identity model of messages with `--rows` pairs of identifiers, under the default rules, by dbt's
   own model times. Floor: scan the messages and hash their identifiers once.

Engines are told apart by their floors, not by their seconds: they keep their data otherwise. PostgreSQL and Spark
are started for it (Spark: a master and two workers); with one core each, two engines never run at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml
from _report import Report, peak_mb, timed
from people import MODELS, TYPES, make_people
from sqlglot import exp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from revetl.sync.plan.diff import Diff  # noqa: E402
from revetl.sync.plan.eligibility import Members  # noqa: E402
from revetl.sync.plan.inputs import read_inputs  # noqa: E402
from revetl.sync.plan.plan import make_plan  # noqa: E402
from revetl.sync.state.tables import StateTables  # noqa: E402
from revetl.warehouse import Warehouse  # noqa: E402
from revetl.warehouse.templates import column, statement, table  # noqa: E402
from tests.helpers.backends import Backend, make_backend  # noqa: E402
from tests.helpers.project import ProjectFolder  # noqa: E402
from tests.warehouses.serve import serving  # noqa: E402

_ROWS = 100_000
_MEMBERS = """
    select 'u' || lpad(i::varchar, 9, '0') as user_id, 'user' || i || '@example.com' as email,
        ((hash(i) % 10000) / 100.0 + {more})::double as ltv, (hash(i, 1) % 100)::bigint as orders,
        timestamp '2026-01-01' + to_days((hash(i, 2) % 300)::int) as last_order,
        'segment ' || (hash(i, 3) % 12) as segment
    from range({first}, {last}) as numbers (i)
"""
_ARRIVED = table("revetl_arrived")


def keep(warehouse: Warehouse, name: exp.Table, batches: Iterator[pa.RecordBatch]) -> None:
    """Make a table of what DuckDB has made."""
    for number, batch in enumerate(batches):
        warehouse.load(_ARRIVED, pa.Table.from_batches([batch]))
        rows = exp.select("*").from_(_ARRIVED.copy())
        if number:
            warehouse.run(exp.Insert(this=name.copy(), expression=rows))
        else:
            warehouse.run(exp.Create(this=name.copy(), kind="TABLE", expression=rows))


def scanned(warehouse: Warehouse, name: exp.Table, columns: list[str]) -> None:
    """Scan a table, hashing columns of each row."""
    hashed = warehouse.row_hash([(column(each, of="a"), "varchar") for each in columns])
    total = "select sum(cast(:hashed as decimal(38, 0))) from :name as a"
    warehouse.rows(statement(total, hashed=hashed, name=name))


def diff(engine: str, folder: Path, rows: int) -> Report:
    """The plan of an audience on an engine."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": "http://127.0.0.1/"}}, engine)
    workspace = project.open().workspace
    backend = project.backend
    members, older = (table(name, backend.schema, backend.database) for name in ("members", "older"))
    gone = rows // 100
    changed = _MEMBERS.format(
        first=gone, last=rows + gone, more="case when hash(i) % 100 = 7 then 1 else 0 end"
    )
    warehouse = workspace.warehouse()
    with duckdb.connect() as maker:
        keep(
            warehouse, older, maker.sql(_MEMBERS.format(first=0, last=rows, more="0")).to_arrow_reader(_ROWS)
        )
        keep(warehouse, members, maker.sql(changed).to_arrow_reader(_ROWS))
    project.declare("members", {"key": "user_id", "sync": [{"to": "crm"}]})
    (sync,) = project.open().select("members")
    workspace = project.open().workspace
    tables = StateTables(backend.state_schema, warehouse.database)
    tables.create(warehouse)
    destination = workspace.destination(sync)

    def prepared() -> Diff:
        made = read_inputs(workspace, sync, destination, warehouse, tables)
        assert isinstance(made, Diff)
        return made

    first = prepared()
    before = replace(first, members=Members(older))
    warehouse.run(
        statement(
            """
            insert into :state (sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id)
            select :sync, :key, :hashed, :hash_by, :identifiers, :fields, :now, 'r1' from :older as a
            """,
            **{**before.parts(), "older": older},
            state=tables.state,
            hashed=warehouse.row_hash(first.hashed),
            hash_by=first.hash_by,
            now=statement("cast('2026-01-01 00:00:00' as timestamp)"),
        )
    )
    columns = ["user_id", "email", "ltv", "orders", "last_order", "segment"]
    for name in (older, members):
        scanned(warehouse, name, columns)
    with timed() as lowest:
        for name in (older, members):
            scanned(warehouse, name, columns)
    with timed() as ours:
        plan = make_plan(workspace, sync, prepared())
    warehouse.close()
    assert plan.add == plan.remove == gone, plan
    sizes = {"rows": rows, **plan.counts}
    return report(f"diff on {engine}", sizes, ours.seconds, lowest.seconds, "at most 4 times on DuckDB")


def identity(engine: str, folder: Path, rows: int) -> Report:
    """The identity models on an engine."""
    (folder / "models").mkdir(parents=True)
    backend = make_backend(engine, folder)
    write_project(folder, backend)
    warehouse = project_warehouse(folder)
    with duckdb.connect() as maker:
        make_people(maker, rows)
        messages = maker.sql("select * from bench.messages")
        warehouse.create_schema("bench")
        name = table("messages", "bench", backend.database)
        keep(warehouse, name, messages.to_arrow_reader(_ROWS))
        ((count,),) = maker.execute("select count(*) from bench.messages").fetchall()
    scanned(warehouse, name, list(TYPES))
    with timed() as lowest:
        scanned(warehouse, name, list(TYPES))
    warehouse.close()
    run_dbt(folder, "deps")
    run_dbt(folder, "seed", "--select", "revetl_blocked_identifiers", "revetl_cut_edges")
    run_dbt(folder, "run", "--select", *MODELS)
    results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
    seconds = sum(
        row["execution_time"]
        for row in results
        if row["unique_id"].startswith("model.revetl.") and ".stg_" not in row["unique_id"]
    )
    return report(
        f"identity on {engine}", {"messages": count, "pairs": rows}, seconds, lowest.seconds, "none"
    )


def report(name: str, sizes: dict[str, Any], seconds: float, floor: float, goal: str) -> Report:
    """The figures; peak memory is this process's, not the server's."""
    return Report(name, sizes, seconds, floor, seconds / floor, peak_mb(), goal)


def write_project(folder: Path, backend: Backend) -> None:
    """A dbt project with revetl as its package, over bench.messages."""
    models = {
        "people": {
            "message_id": "message_id",
            "timestamp": "timestamp",
            "identifiers": {kind: kind for kind in TYPES},
        }
    }
    variables = {
        "sample_events": False,
        "identity": {"identifiers": {k: {} for k in TYPES}, "models": models},
    }
    for name, document in {
        "dbt_project.yml": {"name": "people", "profile": "people", "vars": {"revetl": variables}},
        "profiles.yml": {"people": {"target": "t", "outputs": {"t": {**backend.output, "threads": 1}}}},
        "packages.yml": {"packages": [{"local": str(ROOT)}]},
    }.items():
        (folder / name).write_text(yaml.safe_dump(document))
    (folder / "models" / "people.sql").write_text(
        "{{ config(materialized='view') }} select * from bench.messages"
    )


def project_warehouse(folder: Path) -> Warehouse:
    """The warehouse of a project."""
    from revetl.dbt.project_files import Options
    from revetl.project.workspace import Workspace

    return Workspace(Options(folder, folder)).warehouse()


def run_dbt(folder: Path, *words: str) -> None:
    """Run dbt in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "dbt.cli.main", "--no-use-colors", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engines", default="duckdb,postgres,spark")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for engine in arguments.engines.split(","):
        with (
            tempfile.TemporaryDirectory() as folder,
            serving("duckdb" if engine == "postgres" else engine, Path(folder) / "server") as variables,
        ):
            os.environ.update(variables)
            diff(engine, Path(folder) / "diff", arguments.rows).print(arguments.json)
            identity(engine, Path(folder) / "identity", arguments.rows).print(arguments.json)


if __name__ == "__main__":
    main()
