"""Serves the sandbox: in the foreground for users, in a thread for tests and the demo."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from revetl.errors import UsageError
from revetl.sandbox.app import create_app
from revetl.sandbox.rules import MisbehaviorRule


def listen(host: str, port: int) -> socket.socket:
    """Open a socket on the port; 0 picks a free one. Raises UsageError if the port is in use."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"--port {port}: {error.strerror} on {host}. Use another port, or 0.") from None
    return listener


def _server(
    rules: list[MisbehaviorRule] | None,
    secrets: Mapping[str, str] | None,
    project: str | None,
    hosts: Iterable[str] = (),
) -> uvicorn.Server:
    app = create_app(rules, secrets, project, hosts)
    return uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=60))


def serve(
    listener: socket.socket,
    rules: list[MisbehaviorRule] | None = None,
    project: str | None = None,
    hosts: Iterable[str] = (),
) -> None:
    """Serve until interrupted; `project` and `hosts` as in `create_app`."""
    _server(rules, None, project, hosts).run(sockets=[listener])


@contextmanager
def running_sandbox(
    rules: list[MisbehaviorRule] | None = None,
    secrets: Mapping[str, str] | None = None,
    port: int = 0,
    project: str | None = None,
) -> Iterator[str]:
    """Run a sandbox in a thread and yield its base URL."""
    listener = listen("127.0.0.1", port)
    server = _server(rules, secrets, project)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
