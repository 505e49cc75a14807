"""A first sync of a DuckDB table to a loopback endpoint, beside drt-core: rows per second, and peak memory.

    python benchmarks/peer.py [--rows 200000] [--batch 1000] [--json]

Each is a process, timed from its start to its end, and sends the same rows of a copy of the same file to the
same endpoint, a batch a request. drt-core is installed into a temporary environment by uv, with the DuckDB
that revetl has. revetl keeps its state, journal and spool meanwhile; drt-core keeps none. Its limit of
requests per second is lifted, as revetl has none here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = "drt-core[duckdb]==1.2.1"
BODY = '{"records": {{ rows | tojson }}}'


@dataclass(frozen=True)
class Measured:
    """One process: its seconds, those of a CPU, the rows a second, and the most memory that it had, in MB."""

    seconds: float
    cpu_seconds: float
    rows_per_second: int
    peak_mb: int


def serve() -> None:
    """Answer every request, and count the records in it by their ids; print the port, then wait for a line to
    print the number of records since the last."""
    import asyncio

    got = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
                body = await reader.readexactly(int(fields[b"content-length"]))
                got += body.count(b"@example.com")
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        nonlocal got
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 22)
        print(server.sockets[0].getsockname()[1], flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(got, flush=True)
            got = 0

    asyncio.run(run())


@contextmanager
def endpoint() -> Iterator[subprocess.Popen[str]]:
    """The endpoint as a process."""
    command = [sys.executable, __file__, "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def make_project(folder: str, rows: str, url: str, batch: str) -> None:
    """A project of revetl with an audience that was never synced."""
    sys.path.insert(0, str(ROOT))
    from tests.helpers.project import ProjectFolder

    crm = {"type": "webhook", "url": url, "batch_size": int(batch)}
    project = ProjectFolder(Path(folder), {"crm": crm})
    query = f"""
        select 'u' || i as user_id, 'user' || i || '@example.com' as email,
            round((hash(i) % 100000) / 100, 2) as ltv, (hash(i, 1) % 100) / 100 as churn_risk
        from range({int(rows)}) as numbers (i)
    """
    project.audience("people", query, {"key": "user_id", "sync": [{"to": "crm"}]})


def make_peer_project(folder: Path, database: Path, url: str, batch: int) -> dict[str, str]:
    """A project of drt-core over a copy of the file; gives the environment that it runs in."""
    (folder / "syncs").mkdir(parents=True)
    (folder / ".drt").mkdir()
    copy = folder / "copy.duckdb"
    shutil.copy(database, copy)
    profile = {"default": {"type": "duckdb", "database": str(copy)}}
    (folder / ".drt" / "profiles.yml").write_text(json.dumps(profile))
    (folder / "drt_project.yml").write_text(json.dumps({"name": "peer", "profile": "default"}))
    destination: dict[str, object] = {"type": "rest_api", "url": url, "method": "POST"}
    destination["headers"] = {"Content-Type": "application/json"}
    if batch > 1:
        destination |= {"body_mode": "batch", "batch_template": BODY}
    sync = {
        "name": "people",
        "model": "select user_id, email, ltv, churn_risk from people",
        "destination": destination,
        # One batch is one client of theirs; a record a request is still a request each.
        "sync": {"mode": "full", "batch_size": max(batch, 1_000), "rate_limit": {"requests_per_second": 1e9}},
    }
    (folder / "syncs" / "people.yml").write_text(json.dumps(sync))
    return {**os.environ, "HOME": str(folder)}


def install(folder: Path) -> Path:
    """drt-core in an environment of `folder`; gives its command."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    python = folder / "bin" / "python"
    pinned = f"duckdb=={version('duckdb')}"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), PEER, pinned], check=True)
    return folder / "bin" / "drt"


def measured(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    rows: int,
    server: subprocess.Popen[str],
) -> Measured:
    """Run a command to its end. This process is small, so that the peak is not that of it, which a process
    has before it begins its own."""
    output = folder / "output.txt"
    with output.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert server.stdin is not None and server.stdout is not None
    print(file=server.stdin, flush=True)
    got = int(server.stdout.readline())
    if process.returncode != 0 or got != rows:
        sys.exit(f"{command[0]}: exit {process.returncode}, {got:,} of {rows:,} rows\n{output.read_text()}")
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(round(seconds, 2), round(cpu, 2), int(rows / seconds), usage.ru_maxrss // unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=1_000, help="records a request")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, batch = arguments.rows, arguments.batch
    with tempfile.TemporaryDirectory() as name, endpoint() as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        folder = Path(name)
        ours, theirs = folder / "ours", folder / "theirs"
        make = [sys.executable, __file__, "--make", str(ours), str(rows), url, str(batch)]
        subprocess.run(make, check=True)
        environment = make_peer_project(theirs, ours / "revetl.duckdb", url, batch)
        drt = install(folder / "environment")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        revetl = [sys.executable, "-m", "revetl", "sync", "audience", "people"]
        found = {
            "revetl": measured(revetl, ours, {**os.environ, "PYTHONPATH": path}, rows, server),
            PEER.replace("[duckdb]", ""): measured([str(drt), "run"], theirs, environment, rows, server),
        }
    if arguments.json:
        print(
            json.dumps(
                {
                    "benchmark": "peer",
                    "rows": rows,
                    "batch": batch,
                    **{k: asdict(v) for k, v in found.items()},
                }
            )
        )
        return
    print(f"{rows:,} rows, {batch:,} a request")
    for who, each in found.items():
        print(
            f"{who}: {each.rows_per_second:,} rows/s ({each.seconds:.2f} s, CPU {each.cpu_seconds:.2f} s), peak {each.peak_mb:,} MB"
        )
    us, them = found.values()
    ratio = us.rows_per_second / them.rows_per_second
    print(f"revetl sends {ratio:.2f} times as many rows per second; goal: 3 times, at no more than 200 MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve()
    elif sys.argv[1:2] == ["--make"]:
        make_project(*sys.argv[2:])
    else:
        main()
