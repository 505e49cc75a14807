"""A server that keeps what it is sent, and audiences of values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any

from tests.helpers.http import LoopbackServer
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import synced

Bodies = list[dict[str, Any]]
META: dict[str, Any] = {"key": "user_id", "sync": [{"to": "crm"}]}


@contextmanager
def recording() -> Iterator[tuple[str, Bodies]]:
    """A server that keeps the bodies it is sent, and its address."""
    kept: Bodies = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            kept.append(json.loads(raw.decode("utf-8", errors="strict")))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", kept
    finally:
        server.shutdown()
        server.server_close()


def table(project: ProjectFolder, expression: str, *parameters: Any) -> None:
    """An audience of one person with one value."""
    project.sql(
        f"create or replace table given as select 'u1' as user_id, {expression} as value", *parameters
    )
    project.audience("vips", "select * from given", META)


def quoted(name: str) -> str:
    """A column's name, in SQL."""
    return '"' + name.replace('"', '""') + '"'


def left(project: ProjectFolder, kept: Bodies) -> tuple[set[str], list[str]]:
    """What is sent when everybody leaves: the operations, and whom they name."""
    del kept[:]
    project.audience("vips", "select * from given where false")
    assert synced(project, force=["empty", "max_change"]).status == "success"
    return {body["operation"] for body in kept}, [record["id"] for record in records(kept)]


def records(kept: Bodies) -> list[dict[str, Any]]:
    return [record for body in kept for record in body["records"]]
