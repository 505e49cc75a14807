"""Computed traits by the dbt models: one, 40, and the same 40 by a query that an expert would write in DuckDB.

    python benchmarks/traits.py [--events 10000000] [--rounds 2] [--memory 3GB] [--json]

Track messages of a tenth as many people, whose properties have eight members. The models are
int_revetl__trait_events, int_revetl__trait_touched, int_revetl__event_traits and revetl_computed_traits, by dbt's
own times (run_results.json), all made anew; of the rounds the fastest counts. Of ten million events the
hand-written query needs 12 GB. It is one scan of stg_revetl__tracks joined to revetl_events; it must give the
same rows, the last digit of means apart. Each run is a process of its own; DuckDB is given `--memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
import trait_cases as cases
from _report import Report, timed
from identity_peers import own_peak_mb

ROOT = Path(__file__).resolve().parent.parent
IDENTITY = ("revetl.staging", "revetl.intermediate.identity", "revetl.marts.identity")
MODELS = (
    "int_revetl__trait_events",
    "int_revetl__trait_touched",
    "int_revetl__event_traits",
    "revetl_computed_traits",
)


@dataclass(frozen=True)
class Run:
    """Seconds in all and of each model, and the most memory the process had, in MB."""

    seconds: float
    models: dict[str, float]
    peak_mb: float


class Project:
    """A dbt project with revetl as its package, over the messages of a DuckDB file."""

    def __init__(self, folder: Path, events: int, memory: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.database = folder / "traits.duckdb"
        self.memory = memory
        settings = {"memory_limit": memory, "checkpoint_threshold": "1GB"}
        output = {"type": "duckdb", "path": str(self.database), "threads": 1, "settings": settings}
        (folder / "profiles.yml").write_text(json.dumps({"bench": {"target": "t", "outputs": {"t": output}}}))
        (folder / "packages.yml").write_text(json.dumps({"packages": [{"local": str(ROOT)}]}))
        self.declare({})
        self._apart(_dbt, folder, ("deps",))
        self._apart(_dbt, folder, ("seed", "--select", "revetl_blocked_identifiers", "revetl_cut_edges"))
        with self.connect() as connection:
            cases.make_messages(connection, events)
        self._apart(_dbt, folder, ("run", "--select", *IDENTITY, *MODELS))

    def declare(self, traits: Mapping[str, Any]) -> None:
        """Put traits in the place of those declared: the next build makes all of them anew."""
        variables = {
            "raw_schema": "raw",
            "sample_events": False,
            "order_traits": {},
            "traits": traits,
            "as_of": cases.NOW,
        }
        project = {
            "name": "bench",
            "profile": "bench",
            "vars": {"revetl": variables},
        }
        (self.folder / "dbt_project.yml").write_text(json.dumps(project))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The file, which no build may have open at the same time."""
        connection = duckdb.connect(str(self.database), config={"memory_limit": self.memory})
        connection.execute("set enable_progress_bar = false")
        return connection

    def build(self, traits: Mapping[str, Any]) -> Run:
        """The models of traits, for these, in a new process."""
        self.declare(traits)
        return self._apart(_dbt, self.folder, ("run", "--select", *MODELS))

    def by_hand(self) -> Run:
        """The hand-written query, in a new process."""
        return self._apart(_by_hand, self.database, self.memory)

    def differing_rows(self) -> int:
        """How many people are not the same in revetl_computed_traits and in the hand-written table."""
        query = f"""
            select count(*) from revetl_computed_traits as m full join by_hand as h on m.canonical_id = h.canonical_id
            where m.canonical_id is null or h.canonical_id is null
                or {" or ".join(cases.differs(name) for name in cases.TRAITS)}
        """
        with self.connect() as connection:
            return int(connection.execute(query).fetchall()[0][0])

    @staticmethod
    def _apart(task: Any, *arguments: Any) -> Run:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            run: Run = pool.submit(task, *arguments).result()
            return run


def _dbt(folder: Path, words: tuple[str, ...]) -> Run:
    from dbt.cli.main import dbtRunner

    os.chdir(folder)
    out = StringIO()
    with redirect_stdout(out):
        done = dbtRunner().invoke(["--no-use-colors", *words])
    if not done.success:
        raise SystemExit(out.getvalue()[-3000:])
    if words[0] != "run":
        return Run(0.0, {}, own_peak_mb())
    results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
    models = {row["unique_id"].split(".")[-1]: row["execution_time"] for row in results}
    models = {name: models[name] for name in MODELS}
    return Run(sum(models.values()), models, own_peak_mb())


def _by_hand(database: Path, memory: str) -> Run:
    with duckdb.connect(str(database), config={"memory_limit": memory}) as connection:
        connection.execute("set enable_progress_bar = false")
        with timed() as clock:
            connection.execute(f"create or replace table by_hand as {cases.query()}")
    return Run(clock.seconds, {}, own_peak_mb())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", default="3GB")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "bench", options.events, options.memory)
        runs: list[tuple[Run, Run, Run]] = []
        for _ in range(options.rounds):
            one = project.build(cases.ONE)
            runs.append((one, project.build(cases.declarations()), project.by_hand()))
        differing = project.differing_rows()
    if differing:
        raise SystemExit(f"{differing:,} rows of the models and of the hand-written query are not the same")
    one, forty, by_hand = (min(each, key=lambda run: run.seconds) for each in zip(*runs, strict=True))
    for label, floor, goal in (
        ("one trait", one, 2.5),
        ("the same by hand", by_hand, 2.0),
    ):
        Report(
            f"traits, {len(cases.TRAITS)} over {label}",
            {"events": options.events},
            forty.seconds,
            floor.seconds,
            forty.seconds / floor.seconds,
            forty.peak_mb,
            f"at most {goal} times",
        ).print(options.json)
    for label, run in {"one": one, "40": forty, "by hand": by_hand}.items():
        models = {name: round(seconds, 2) for name, seconds in run.models.items()}
        print(
            json.dumps(
                {"traits": label, "seconds": round(run.seconds, 2), **models, "peak_mb": round(run.peak_mb)}
            )
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
