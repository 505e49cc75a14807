"""A server for tests that play a service."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


class LoopbackServer(ThreadingHTTPServer):
    """One that says nothing of clients that hang up, as clients that time out do: the traceback would
    land in the standard error of whichever test runs by then."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class JsonHandler(BaseHTTPRequestHandler):
    """One that answers in JSON, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: Any) -> None:
        """Send a whole answer."""
        content = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
