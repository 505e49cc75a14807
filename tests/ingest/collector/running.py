"""A collector over loopback, in a thread of the test, and what it landed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx

from revetl.ingest.collector.app import Collector, create_app
from revetl.ingest.collector.landing import LandingResult
from revetl.ingest.collector.run import CollectorOptions, assembled
from revetl.ingest.collector.server import listen, server_of
from tests.helpers.project import ProjectFolder

KEY = "web-write-key"
NEVER = 86_400


def make_project(root: Path, *, land_seconds: float = NEVER, **collector: Any) -> ProjectFolder:
    """A project with a collector of one source, `web`, which lands when a test says so."""
    project = ProjectFolder(root)
    settings = {"sources": {"web": {"write_key": KEY}}, "land_seconds": land_seconds, **collector}
    project.destinations({}, collector=settings)
    return project


class RunningCollector:
    """A collector that serves at `url`."""

    def __init__(self, project: ProjectFolder, url: str, collector: Collector) -> None:
        self.project = project
        self.url = url
        self.collector = collector
        self.client = httpx.Client(base_url=url, timeout=30)

    def post(self, path: str, body: Any, key: str | None = KEY, **headers: str) -> httpx.Response:
        """Post a body; with a key, as Basic."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        auth = None if key is None else httpx.BasicAuth(key, "")
        return self.client.post(path, content=content, headers=headers, auth=auth or httpx.Auth())

    def land(self) -> LandingResult:
        """Land what is there."""
        lander = self.collector._lander
        assert lander is not None
        landed = lander.land()
        assert landed is not None, lander.error
        return landed

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse, after a landing."""
        self.land()
        with duckdb.connect(str(self.project.database), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def messages(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """The columns of a raw table, sorted."""
        return self.rows(f"select {', '.join(columns)} from raw.{table} order by all")

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels as they are written."""
        text = self.client.get("/metrics").text
        return next(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} ")
        )


@contextmanager
def running(
    project: ProjectFolder, options: CollectorOptions | None = None, **given: Any
) -> Iterator[RunningCollector]:
    """Run the project's collector. `now` is its clock."""
    now = given.pop("now", None)
    chosen = replace(options or CollectorOptions(), **given)
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with assembled(project.open().workspace, chosen) as collector:
        if now is not None:
            collector._now = now
        server = server_of(create_app(collector))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        made = RunningCollector(project, url, collector)
        try:
            yield made
        finally:
            made.client.close()
            server.should_exit = True
            thread.join(timeout=20)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def track(**fields: Any) -> dict[str, Any]:
    """A valid track message, with other or further fields; `...` leaves one out."""
    message = {"type": "track", "userId": "u1", "event": "Order Completed", **fields}
    return {name: value for name, value in message.items() if value is not ...}
