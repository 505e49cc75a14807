"""Delivery of changes to a loopback webhook, from spool to commit, against a bare client's floor.

    python benchmarks/deliver.py [--rows 500000] [--json]

Timed: reading the spool, sending batches of 1,000 with each answer journalled, and the merge into the state.
Floor: aiohttp alone posting as many bodies, each encoded by orjson from records in memory; nothing is read from
a disk, and nothing kept. The peak is of delivery
only: the run is planned and spooled by another process, as memory there is DuckDB's.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import orjson
from _report import Report, peak_mb, timed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import revetl  # noqa: E402
from revetl.delivery.serializer import shaping_in  # noqa: E402
from revetl.sync.plan.options import SyncOptions  # noqa: E402
from revetl.sync.run import Progress, ReadyRun, Runner  # noqa: E402
from revetl.sync.state.run_log import Run  # noqa: E402
from tests.helpers.project import ProjectFolder  # noqa: E402

BATCH = 1_000


@contextmanager
def sink() -> Iterator[str]:
    """A sink in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "helpers" / "sink.py")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    finally:
        server.kill()


def make_project(folder: Path, rows: int, url: str) -> None:
    """A project with an audience that was never synced."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": url, "batch_size": BATCH}})
    query = f"""
        select 'u' || i as user_id, 'user' || i || '@example.com' as email,
            round((hash(i) % 100000) / 100, 2) as ltv, (hash(i, 1) % 100) / 100 as churn_risk
        from range({rows}) as numbers (i)
    """
    project.audience("everybody", query, {"key": "user_id", "sync": [{"to": "crm"}]})


def runner(folder: Path) -> Runner:
    """The runner of the one sync, as `revetl sync` makes it."""
    project = revetl.Project(folder)
    (sync,) = project.select("everybody")
    destination = project.workspace.destination(sync)
    shaping = shaping_in(project.workspace.root, sync, destination)
    return Runner(
        project.workspace, sync, SyncOptions(), Progress(), destination, shaping, run_id="benchmark"
    )


def spool(folder: Path) -> ReadyRun:
    """The first half of a run."""
    ready = runner(folder).spool()
    assert isinstance(ready, ReadyRun)
    return ready


def deliver(folder: Path, ready: ReadyRun) -> Run:
    """The second half."""
    return runner(folder).deliver(ready)


async def bare(url: str, rows: int) -> None:
    """aiohttp alone: as many bodies of the same size, eight in flight."""
    fields = {"churn_risk": 0.5, "email": "user123456@example.com", "ltv": 123.45}
    left = rows // BATCH
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                records = [{"id": f"u{left * BATCH + i}", "fields": dict(fields)} for i in range(BATCH)]
                body = orjson.dumps({"records": records})
                async with session.post(url, data=body) as response:
                    await response.read()

        await asyncio.gather(*(work() for _ in range(8)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = arguments.rows
    with sink() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with multiprocessing.get_context("spawn").Pool(1) as other:
            other.apply(make_project, (folder, rows, url))
            ready = other.apply(spool, (folder,))
        with timed() as floor:
            asyncio.run(bare(url, rows))
        with timed() as ours:
            run = deliver(folder, ready)
        assert run.delivered["add"] == rows, run
        Report(
            benchmark="deliver",
            sizes={"records": rows, "records_per_second": int(rows / ours.seconds)},
            seconds=ours.seconds,
            floor_seconds=floor.seconds,
            ratio=ours.seconds / floor.seconds,
            peak_mb=peak_mb(),
            goal="100,000 records/s; memory flat in the number of records",
        ).print(arguments.json)


if __name__ == "__main__":
    main()
