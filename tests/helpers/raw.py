"""A server over loopback that writes the bytes of a test, whether or not they are HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[[socket.socket, bytes], None]
"""What is done with a connection once its request is in, head and body."""


@dataclass
class RawServer:
    """Where it listens, and the requests that came in."""

    url: str
    requests: list[bytes] = field(default_factory=list)


def says(*parts: bytes, every: float = 0.0) -> Script:
    """Write the parts, with some seconds before each, and hang up."""

    def script(connection: socket.socket, _: bytes) -> None:
        for part in parts:
            time.sleep(every)
            connection.sendall(part)

    return script


@contextmanager
def raw_server(script: Script) -> Iterator[RawServer]:
    """A server that does `script` with every connection, each in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += _more(connection)
            head, _, body = data.partition(b"\r\n\r\n")
            named = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:])
            while len(body) < int(named.get(b"content-length", b"0")):
                body += _more(connection)
            server.requests.append(head + b"\r\n\r\n" + body)
            script(connection, head)
            connection.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("it hung up")
    return data
