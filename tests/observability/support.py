"""A run as alerts and telemetry see one, and a server that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from revetl.observability.alerts import PastRun
from tests.helpers.http import LoopbackServer

NONE: Mapping[str, int] = {}


@dataclass(frozen=True)
class FakeRun:
    """The attributes of `revetl.sync.record.Run` that are used."""

    status: str = "success"
    attempted: Mapping[str, int] = field(default_factory=lambda: {"add": 100})
    rejected: Mapping[str, int] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=lambda: {"add": 100})
    delivered: Mapping[str, int] = field(default_factory=lambda: {"add": 100})
    aborted: Mapping[str, int] = field(default_factory=dict)
    stopped_by: str | None = None
    error: str | None = None
    run_id: str = "20261124T101500-1a2b3c4d"
    sync: str = "high_churn.crm"
    audience: str = "high_churn"
    destination: str = "crm"
    seconds: float = 2.5


OK = FakeRun()
IDLE = FakeRun(attempted=NONE, planned=NONE, delivered=NONE)
REFUSED = FakeRun("refused", NONE, NONE, delivered=NONE, aborted={"add": 100}, error="crm refused us: 401.")
GUARD = FakeRun(
    "stopped", NONE, NONE, delivered=NONE, aborted={"add": 100}, stopped_by="empty", error="Empty."
)
FEW = FakeRun("rejected", rejected={"add": 4}, delivered={"add": 96})
MANY = FakeRun("rejected", rejected={"add": 40}, delivered={"add": 60})
INTERRUPTED = FakeRun("interrupted", {"add": 10}, NONE, delivered={"add": 10}, aborted={"add": 90})
CRASHED = PastRun("crashed", {"add": 10}, NONE)
RUNNING = PastRun("running", NONE, NONE)


@dataclass(frozen=True)
class Received:
    """A request: path with query, headers in lower case, body, and when it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic, compare=False)


class Receiver:
    """What a server was sent; `status` and `delay` are how it answers from now on."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.status = 200
        self.delay = 0.0
        self.url = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Received(self.path, headers, body))
            time.sleep(receiver.delay)
            self.send_response(receiver.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()
