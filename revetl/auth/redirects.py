"""Receive redirects: with a server on a loopback address (RFC 8252, section 7.3), or pasted by the user."""

from __future__ import annotations

import html
import os
import queue
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from revetl.auth.flows import Visit
from revetl.destinations.base.addresses import LOOPBACK
from revetl.errors import DestinationRefused, UsageError

PATH = "/callback"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>revetl</title>'
    '<body style="font: 1.1em sans-serif; margin: 4em auto; max-width: 30em"><p>{}</p></body></html>'
)


def is_caught(redirect_uri: str) -> bool:
    """Whether a local server can receive redirects to this address."""
    url = urlsplit(redirect_uri)
    return url.scheme == "http" and url.hostname in LOOPBACK


class Loopback:
    """A context manager with a server for one redirect, on a loopback address. Raises UsageError if the port
    is in use."""

    def __init__(self, redirect_uri: str) -> None:
        url = urlsplit(redirect_uri)
        self._path = url.path or "/"
        self._redirects: queue.Queue[Mapping[str, str]] = queue.Queue()
        self._visit: Visit | None = None
        self.on_stray: Callable[[], None] = lambda: None
        host = url.hostname or ""
        # Browsers may resolve localhost to either.
        hosts = {"localhost": ["127.0.0.1", "::1"]}.get(host, [host])
        first = _server(hosts[0], url.port or 0, self)
        self._servers = [first]
        port = first.server_address[1]
        for other in hosts[1:]:
            try:
                self._servers.append(_server(other, int(port), self))
            except UsageError:
                # Either there is no IPv6, or another program uses the port and would receive the redirect.
                if _answers(other, int(port)):
                    self.close()
                    raise
        shown = f"[{host}]" if ":" in host else host
        self.redirect_uri = f"{url.scheme}://{shown}:{port}{url.path}"

    def __enter__(self) -> Loopback:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for server in self._servers:
            server.server_close()

    def expect(self, visit: Visit) -> None:
        """Accept only the redirect of this visit."""
        self._visit = visit

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Wait for the redirect and return its parameters. Raises DestinationRefused after `seconds`."""
        try:
            return self._redirects.get(timeout=seconds)
        except queue.Empty:
            raise DestinationRefused(
                f"There was no redirect to {self.redirect_uri} within {seconds:,.0f} seconds. Sign in again, "
                "with --timeout for more time, or --paste if the browser is on another machine."
            ) from None

    def answer(self, address: str) -> tuple[int, str]:
        """Return the status and text of the response to a request."""
        url = urlsplit(address)
        parameters = dict(parse_qsl(url.query))
        if url.path != self._path:
            return 404, "Not found."
        if self._visit is None or not self._visit.is_answered_by(parameters):
            # Any page can send a browser here, so keep waiting.
            self.on_stray()
            return 400, "This is not the expected sign-in. Return to the terminal."
        self._redirects.put(parameters)
        if "error" in parameters or "denied" in parameters:
            return 200, "Access was denied. You can close this window."
        return 200, "revetl has received the redirect. Close this window and return to the terminal."


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # browsers open connections that they do not use
    allow_reuse_address = os.name == "posix"  # on Windows, it lets two programs share a port
    loopback: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors, because browsers close connections early."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0
    server: _Server

    def do_GET(self) -> None:
        status, sentence = self.server.loopback.answer(self.path)
        content = _PAGE.format(html.escape(sentence)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing: the address contains the code."""


def _server(host: str, port: int, loopback: Loopback) -> _Server:
    try:
        made = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise UsageError(
            f"Cannot listen for the redirect on port {port} ({error.strerror or error}). Stop the program "
            "that uses the port, or set sign_in.port to another port that is registered for the app."
        ) from None
    made.loopback = loopback
    return made


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def pasted(text: str, visit: Visit) -> Mapping[str, str]:
    """Parse the parameters of a redirect in a pasted address. Raises UsageError for text that isn't one, and
    for the address of another sign-in."""
    text = text.strip().strip("'\"")
    parameters = dict(parse_qsl(urlsplit(text).query))
    if visit.code_alone is not None and text and not parameters:
        return {visit.code_alone: text}
    if not parameters:
        raise UsageError(
            "That is not the final address of the browser. Sign in again, and copy the complete address."
        )
    if not visit.is_answered_by(parameters):
        raise UsageError(
            f"That address belongs to another sign-in: its {visit.matched_by[0]} differs. Sign in again, and "
            "copy the final address of the browser."
        )
    return parameters


def open_browser(url: str) -> bool:
    """Open an address in the user's browser. Returns False if there is none, as on a headless machine."""
    on_a_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not on_a_screen:
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    # Some browsers block until they are closed.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    return True
