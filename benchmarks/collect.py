"""`revetl collect` against a bare Starlette app that parses the same requests and answers, in the same run.

python benchmarks/collect.py [--seconds 10] [--json]

Load generator and server share the machine. A batch is 20 events. The collector answers after its sync of the
disk. `landing` is the rate of landing the batches' segments against `revetl load` of the same lines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson

from revetl.ingest.load import load_files

KEY = "benchmark"
BATCH = 20
CONNECTIONS = 50
BARE = """
import sys, socket, orjson, uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
async def batch(request: Request) -> Response:
    orjson.loads(await request.body())
    return Response(b'{"success":true}', media_type="application/json")
listener = socket.socket(); listener.bind(("127.0.0.1", 0))
print(f"Collecting on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
app = Starlette(routes=[Route("/v1/batch", batch, methods=["POST"]), Route("/v1/t", batch, methods=["POST"])])
config = uvicorn.Config(app, http="h11", loop="asyncio", log_level="critical", access_log=False)
uvicorn.Server(config).run(sockets=[listener])
"""


def message(number: int) -> dict[str, Any]:
    """An event of about 550 bytes, as SDKs send it."""
    return {
        "type": "track",
        "messageId": f"node-next-1796142020539-{number:036d}",
        "userId": f"user_{number % 5_000}",
        "event": "Product Added",
        "timestamp": "2026-12-01T12:00:00.000Z",
        "properties": {
            "product_id": f"prod_{number % 900}",
            "price": 299.99,
            "quantity": 1,
            "currency": "USD",
        },
        "context": {
            "library": {"name": "@segment/analytics-node", "version": "3.1.0"},
            "page": {"path": "/p/12345", "url": "https://shop.example.com/p/12345", "title": "Product"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        },
        "integrations": {},
    }


def started(command: list[str], folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server, and its address."""
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = process.stderr.readline().split()[2]
    for _ in range(200):
        try:
            httpx.get(f"{url}/health")
            break
        except httpx.TransportError:
            time.sleep(0.05)
    return process, url


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> None:
    """One request on an open connection."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YmVuY2htYXJrOg==\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer
    length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    await reader.readexactly(length)


async def batches(url: httpx.URL, seconds: float) -> float:
    """Events a second that are acknowledged, in batches."""
    numbers = iter(range(10**9))
    counts = [0]

    async def send() -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        while time.monotonic() < end:
            first = next(numbers) * BATCH
            batch = [message(first + index) for index in range(BATCH)]
            await exchange(reader, writer, "/v1/batch", orjson.dumps({"batch": batch, "writeKey": KEY}))
            counts[0] += BATCH
        writer.close()

    began = time.monotonic()
    end = began + seconds
    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return counts[0] / (time.monotonic() - began)


async def singles(url: httpx.URL, seconds: float, rate: int) -> list[float]:
    """Latencies of single events at a rate, in seconds."""
    found: list[float] = []
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(number: int) -> None:
        connection = idle.pop() if idle else await asyncio.open_connection(url.host, url.port)
        began = time.monotonic()
        await exchange(*connection, "/v1/t", orjson.dumps(message(10**8 + number)))
        found.append(time.monotonic() - began)
        idle.append(connection)

    tasks = []
    began = time.monotonic()
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(send(number)))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return sorted(found)


def disk_latencies(folder: Path) -> list[float]:
    """How long fdatasync of 4 KiB takes, in seconds."""
    found = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(b"x" * 4_096)
            began = time.monotonic()
            os.fdatasync(file.fileno())
            found.append(time.monotonic() - began)
    return sorted(found)


def memory_mb(process: subprocess.Popen[str]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def make_project(root: Path) -> None:
    root.mkdir()
    (root / "dbt_project.yml").write_text(
        'name: shop\nprofile: shop\nversion: "1.0"\nvars: {revetl: {raw_schema: raw, state_schema: revetl}}\n'
    )
    (root / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n"
    )
    (root / "revetl.yml").write_text(
        f"collector: {{land_seconds: 86400, land_rows: 1000000000, sources: {{web: {{write_key: {KEY}}}}}}}\n"
    )


def landing_ratio(root: Path) -> tuple[int, float]:
    """The number of landed events, and the rate of landing against `revetl load`."""
    from revetl import Project
    from revetl.ingest.collector.landing import land_segments
    from revetl.ingest.collector.payloads import parse_payload
    from revetl.ingest.collector.run import _opened
    from revetl.ingest.collector.segments import SegmentLog, read_segment

    log = SegmentLog(root / ".revetl/collector")
    payloads = (parse_payload(each) for path in log.closed for each in read_segment(path).payloads)
    file = root / "events.ndjson"
    with file.open("wb") as lines:
        for payload in payloads:
            lines.write(payload.lines + b"\n")
    began = time.monotonic()
    with duckdb.connect(str(root / "loaded.duckdb")) as connection:
        loaded = load_files(connection, [file]).landed
    load_seconds = time.monotonic() - began
    workspace = Project(root).workspace
    began = time.monotonic()
    landed = land_segments(log, "raw", lambda: _opened(workspace)).landed
    land_seconds = time.monotonic() - began
    log.close()
    assert landed == loaded
    return landed, load_seconds / land_seconds


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        root = Path(folder) / "shop"
        make_project(root)
        bare, bare_url = started([sys.executable, "-c", BARE], root)
        floor = asyncio.run(batches(httpx.URL(bare_url), arguments.seconds))
        bare.terminate()
        bare.wait()
        ours, url = started([sys.executable, "-m", "revetl", "collect", "--port", "0"], root)
        before = memory_mb(ours)
        rate = asyncio.run(batches(httpx.URL(url), arguments.seconds))
        latencies = asyncio.run(singles(httpx.URL(url), arguments.seconds, arguments.rate))
        after = memory_mb(ours)
        ours.terminate()
        ours.wait()
        disk = disk_latencies(root)
        landed, landing = landing_ratio(root)
    found = {
        "benchmark": "collect",
        "bare_events_per_second": round(floor),
        "events_per_second": round(rate),
        "ratio": round(rate / floor, 2),
        "goal": "at least 0.6 of the bare app, p99 below 10 times the disk's, landing at least 0.5 of load",
        "single_p50_ms": round(quantile(latencies, 0.5) * 1_000, 1),
        "single_p99_ms": round(quantile(latencies, 0.99) * 1_000, 1),
        "disk_p99_ms": round(quantile(disk, 0.99) * 1_000, 1),
        "landed_events": landed,
        "landing_ratio": round(landing, 2),
        "memory_mb": [before, after],
    }
    print(
        json.dumps(found)
        if arguments.json
        else "\n".join(f"{name}: {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
