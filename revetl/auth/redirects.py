"""Where the browser ends: a server on a loopback address (RFC 8252, section 7.3), or a pasted address."""

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
    """Whether a redirect to this address can be caught on this machine."""
    url = urlsplit(redirect_uri)
    return url.scheme == "http" and url.hostname in LOOPBACK


class Loopback:
    """A server for one redirect, on a loopback address only; a context manager. Raises UsageError for a port
    that another program has."""

    def __init__(self, redirect_uri: str) -> None:
        url = urlsplit(redirect_uri)
        self._path = url.path or "/"
        self._redirects: queue.Queue[Mapping[str, str]] = queue.Queue()
        self._visit: Visit | None = None
        self.on_stray: Callable[[], None] = lambda: None
        host = url.hostname or ""
        # A browser may take localhost for either.
        hosts = {"localhost": ["127.0.0.1", "::1"]}.get(host, [host])
        first = _server(hosts[0], url.port or 0, self)
        self._servers = [first]
        port = first.server_address[1]
        for other in hosts[1:]:
            try:
                self._servers.append(_server(other, int(port), self))
            except UsageError:
                # No IPv6 here, or somebody else has that port of it: then they would get the redirect.
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
        """Take the redirect of this visit, and no other."""
        self._visit = visit

    def wait(self, seconds: float) -> Mapping[str, str]:
        """The parameters of the redirect. Raises DestinationRefused when there was none in time."""
        try:
            return self._redirects.get(timeout=seconds)
        except queue.Empty:
            raise DestinationRefused(
                f"There was no redirect to {self.redirect_uri} within {seconds:,.0f} seconds. Sign in again; "
                "--timeout gives more time, and --paste is for a browser on another machine."
            ) from None

    def answer(self, address: str) -> tuple[int, str]:
        """The status and the sentence for a request of an address."""
        url = urlsplit(address)
        parameters = dict(parse_qsl(url.query))
        if url.path != self._path:
            return 404, "There is nothing here."
        if self._visit is None or not self._visit.is_answered_by(parameters):
            # Any page can send a browser here: it ends nothing.
            self.on_stray()
            return 400, "This is not the sign-in that revetl waits for. Go back to the terminal."
        self._redirects.put(parameters)
        if "error" in parameters or "denied" in parameters:
            return 200, "revetl was not given access. You can close this window."
        return 200, "revetl has received the redirect. Close this window and go back to the terminal."


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # browsers open connections that they do not use
    allow_reuse_address = os.name == "posix"  # elsewhere it lets two programs have one port
    loopback: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up."""


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
        """Nothing: the address has the code in it."""


def _server(host: str, port: int, loopback: Loopback) -> _Server:
    try:
        made = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise UsageError(
            f"The redirect cannot be caught on port {port} ({error.strerror or error}): another program may "
            "have it. End that, or set sign_in.port to another, which the app has to be registered with."
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
    """The parameters of a redirect in an address that a user has pasted. Raises UsageError for one of another
    sign-in, and for what is no address."""
    text = text.strip().strip("'\"")
    parameters = dict(parse_qsl(urlsplit(text).query))
    if visit.code_alone is not None and text and not parameters:
        return {visit.code_alone: text}
    if not parameters:
        raise UsageError(
            "That is not the address that the browser ended on. Sign in again, and copy all of it."
        )
    if not visit.is_answered_by(parameters):
        raise UsageError(
            f"That address is not of this sign-in: its {visit.matched_by[0]} is another. Sign in again, and "
            "copy the address that the browser ends on."
        )
    return parameters


def open_browser(url: str) -> bool:
    """Open an address in the user's browser. Whether there is one: on a machine without a screen, none."""
    on_a_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not on_a_screen:
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    # Some browsers are programs that run until they are closed.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    return True
