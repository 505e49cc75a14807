"""Identity resolution by the dbt models, beside scipy, networkx and splink over the same edges.

    python benchmarks/identity.py [--edges 10000000] [--new 100000] [--peer-edges 1000000] [--json]

1. People whose identifiers are only their own, no limits: the profiles must be scipy's components. Ratio:
   seconds of int_revetl__identity_components, and of hashing the ids to the whole numbers that it works on, over
   those of scipy: both from a table of text edges to a table of labels.
2. The same at a size that networkx and splink can do, all four side by side.
3. People as they are (shared devices, kiosks, chains, junk, typos) under the default rules: the seconds of all
   identity models, then of three builds, each after `--new` messages more, and what part of the first the median
   is. Then everything is built anew, and must come to the same profiles.
4. Precision and recall over pairs of identifiers, with and without rules; and with rules where there are people
   with 200 anonymous ids too, whom a limit of 5 splits.

Seconds of the models are dbt's own (run_results.json): dbt's start is printed apart. dbt runs in a process of
its own; DuckDB is given `--memory`, and writes its log to the file when it closes it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
import identity_peers as peers
from _report import Report, timed
from identity_quality import Quality, quality
from people import GRAPH, MODELS, TYPES, add_messages, make_edges, make_people

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Build:
    """One dbt run: seconds of each identity model, of the whole command, and the peak memory in MB."""

    models: dict[str, float]
    wall_seconds: float
    peak_mb: float

    @property
    def seconds(self) -> float:
        """Of all the models."""
        return sum(self.models.values())


class Project:
    """A dbt project with revetl as its package, over the messages of a DuckDB file."""

    def __init__(self, folder: Path, memory: str, *, limits: bool, blocked: list[str] | None = None) -> None:
        folder.mkdir()
        (folder / "models").mkdir()
        self.folder = folder
        self.database = folder / "people.duckdb"
        self.memory = memory
        columns: dict[str, dict[str, Any]] = {kind: {} if limits else {"limit": "none"} for kind in TYPES}
        identity: dict[str, Any] = {
            "identifiers": columns,
            "models": {
                "people": {
                    "message_id": "message_id",
                    "timestamp": "timestamp",
                    "identifiers": {kind: kind for kind in TYPES},
                }
            },
        }
        if blocked is not None:
            identity["blocked"] = blocked
        settings = {"memory_limit": memory, "checkpoint_threshold": "1GB"}
        output = {"type": "duckdb", "path": str(self.database), "threads": 1, "settings": settings}
        project = {
            "name": "people",
            "profile": "people",
            "vars": {"revetl": {"raw_schema": "raw", "sample_events": False, "identity": identity}},
        }
        for name, document in {
            "dbt_project.yml": project,
            "profiles.yml": {"people": {"target": "t", "outputs": {"t": output}}},
            "packages.yml": {"packages": [{"local": str(ROOT)}]},
        }.items():
            (folder / name).write_text(json.dumps(document))
        (folder / "models" / "people.sql").write_text(
            "{{ config(materialized='view') }} select * from bench.messages"
        )

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The file, which no build may have open at the same time."""
        connection = duckdb.connect(str(self.database), config={"memory_limit": self.memory})
        connection.execute("set enable_progress_bar = false")
        return connection

    def build(self, *options: str) -> Build:
        """Every identity model, in a new process."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_build, self.folder, options).result()


def _build(folder: Path, options: tuple[str, ...]) -> Build:
    from dbt.cli.main import dbtRunner

    os.chdir(folder)
    out = StringIO()
    selections = [["deps"], ["seed", "--select", "revetl_blocked_identifiers", "revetl_cut_edges"]]
    if (folder / "dbt_packages").exists():
        selections = []
    runs = [*selections, ["run", "--select", *MODELS, *options]]
    for words in runs:
        with redirect_stdout(out), timed() as clock:
            done = dbtRunner().invoke(["--no-use-colors", *words])
        if not done.success:
            raise SystemExit(out.getvalue()[-3000:])
    results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
    models = {
        row["unique_id"].split(".")[-1]: row["execution_time"]
        for row in results
        if row["unique_id"].startswith("model.revetl.") and ".stg_" not in row["unique_id"]
    }
    return Build(models, clock.seconds, peers.own_peak_mb())


def _hashing(connection: duckdb.DuckDBPyConnection) -> float:
    """Seconds to make whole numbers of the ids of bench.edges, as the macro node_id does."""
    with timed() as clock:
        connection.execute(
            """
            create or replace table bench.hashed as select
                cast(cast('0x' || left(md5(left_id), 16) as ubigint) >> 1 as bigint) as left_node,
                cast(cast('0x' || left(md5(right_id), 16) as ubigint) >> 1 as bigint) as right_node
            from bench.edges
            """
        )
    return clock.seconds


def _as_components(connection: duckdb.DuckDBPyConnection, others: str) -> None:
    """Make bench.ours: the profiles of those identifiers that have an edge."""
    connection.execute(
        f"""
        create or replace table bench.ours as select identifier_id, canonical_id from {GRAPH}
        where identifier_id in (select identifier_id from {others})
        """
    )


def clean(folder: Path, edges: int, memory: str, others: bool) -> tuple[dict[str, Any], Build]:
    """Without limits: our profiles against the peers' components; with `others`, networkx and splink too."""
    project = Project(folder, memory, limits=False)
    with project.connect() as connection:
        make_people(connection, edges, clean=True)
        made = make_edges(connection)
        hashing = _hashing(connection)
    build = project.build()
    runs = {"scipy": peers.scipy(project.database, memory_limit=memory)}
    if others:
        runs["networkx"] = peers.networkx(project.database, memory_limit=memory)
        runs["splink"] = peers.splink(project.database, memory_limit=memory)
    found: dict[str, Any] = {"edges": made}
    with project.connect() as connection:
        _as_components(connection, "bench.scipy")
        for name, run in runs.items():
            if not peers.same_partition(connection, "bench.ours", f"bench.{name}"):
                raise SystemExit(f"the profiles are not the components of {name}")
            found[name] = {"seconds": round(run.seconds, 2), "peak_mb": round(run.peak_mb)}
    found["revetl"] = {
        "seconds": round(hashing + build.models["int_revetl__identity_components"], 2),
        "peak_mb": round(build.peak_mb),
        "all models": round(build.seconds, 2),
    }
    return found, build


def real(folder: Path, edges: int, new: int, memory: str) -> tuple[Build, Build, Quality]:
    """Under the default rules: a first build, the median one of three with `new` messages more each, and the
    quality after them."""
    project = Project(folder, memory, limits=True)
    with project.connect() as connection:
        make_people(connection, edges)
    first = project.build()
    more = []
    for _ in range(3):
        with project.connect() as connection:
            add_messages(connection, new)
        more.append(project.build())
    with project.connect() as connection:
        found = quality(connection)
        connection.execute(f"create table bench.before as select identifier_id, canonical_id from {GRAPH}")
    project.build("--full-refresh")
    with project.connect() as connection:
        difference = connection.execute(
            f"""
            select count(*) from bench.before as b full join {GRAPH} as g using (identifier_id)
            where b.canonical_id is distinct from g.canonical_id
            """
        ).fetchall()[0][0]
    if difference:
        raise SystemExit(f"{difference:,} identifiers have another profile when all is built anew")
    return first, sorted(more, key=lambda build: build.seconds)[1], found


def measured_quality(folder: Path, edges: int, memory: str, *, rules: bool, chains: bool = False) -> Quality:
    """The quality on people as they are; without `rules`, no value is blocked and there is no limit."""
    project = Project(folder, memory, limits=rules, blocked=None if rules else [])
    with project.connect() as connection:
        make_people(connection, edges, chains=chains)
    project.build()
    with project.connect() as connection:
        return quality(connection)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--peer-edges", type=int, default=1_000_000)
    parser.add_argument("--memory", default="3GB")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, build = clean(folder / "clean", options.edges, options.memory, others=False)
        _print(
            Report(
                "identity, components",
                {"edges": found["edges"]},
                found["revetl"]["seconds"],
                found["scipy"]["seconds"],
                found["revetl"]["seconds"] / found["scipy"]["seconds"],
                build.peak_mb,
                "at most 2 times scipy, the same partition, under 4 GB",
            ),
            options.json,
            build,
        )
        side_by_side, _ = clean(folder / "peers", options.peer_edges, options.memory, others=True)
        print(json.dumps({"benchmark": "identity, side by side, the same partition", **side_by_side}))
        first, second, with_chains = real(folder / "real", options.edges, options.new, options.memory)
        for label, build in {"first build": first, f"build after {options.new:,} more": second}.items():
            _print(
                Report(
                    f"identity, {label}",
                    {"edges": options.edges},
                    build.seconds,
                    first.seconds,
                    build.seconds / first.seconds,
                    build.peak_mb,
                    "after the first: at most 0.1 of it, under 4 GB",
                ),
                options.json,
                build,
            )
        qualities = {
            label: measured_quality(
                folder / label.replace(" ", "_"), options.peer_edges, options.memory, rules=rules
            )
            for label, rules in {"with rules": True, "without rules": False}.items()
        }
        for label, one in {**qualities, "with rules, and chains of 200": with_chains}.items():
            print(json.dumps({"benchmark": f"identity, quality {label}", **asdict(one)}))


def _print(report: Report, as_json: bool, build: Build) -> None:
    report.print(as_json)
    models = {name: round(seconds, 2) for name, seconds in build.models.items() if seconds >= 0.1}
    print(json.dumps({"models": models, "dbt in all": round(build.wall_seconds, 2)}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
