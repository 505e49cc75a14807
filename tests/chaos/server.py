"""A webhook that does at random what destinations do on bad days; what it does follows from its seed."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

FAULTS = {
    "answer": 0.56,
    "reject some": 0.10,
    "429": 0.08,
    "500": 0.08,
    "reset before": 0.06,
    "reset after": 0.06,
    "stall before": 0.03,
    "stall after": 0.03,
}
STALL_SECONDS = 1.0
REJECTED_SHARE = 0.3


@dataclass
class Chaos:
    """What the destination holds, and what it was sent. `calm` ends the bad days."""

    seed: int
    url: str = ""
    calm: bool = False
    audiences: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def fault(self) -> str:
        """What happens to the next request."""
        self.requests += 1
        if self.calm:
            return "answer"
        return self._random.choices(list(FAULTS), list(FAULTS.values()))[0]

    def apply(self, body: dict[str, Any], *, rejecting: bool) -> list[dict[str, str]]:
        """Make it so, but for the rejected; gives them."""
        rejected = []
        audience = self.audiences.setdefault(body["audience"], {})
        with self._lock:
            for record in body["records"]:
                name = record["id"]
                if rejecting and self._random.random() < REJECTED_SHARE:
                    rejected.append({"id": name, "reason": "a bad day", "field": "score"})
                elif body["operation"] == "track":
                    self.events.setdefault(record["message_id"], (name, record["fields"]))
                elif body["operation"] == "remove":
                    audience.pop(name, None)
                elif body["operation"] != "insert" or name not in self.profiles:
                    self.profiles.setdefault(name, {}).update(record["fields"])
                    audience[name] = record["fields"]
        return rejected

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
                body = json.loads(await reader.readexactly(int(fields[b"content-length"])))
                fault = self.fault()
                if fault == "reset before":
                    break
                if fault == "stall before":
                    await asyncio.sleep(STALL_SECONDS)
                    break
                if fault == "429":
                    writer.write(_response(b"429 Too Many Requests", {}, b"Retry-After: 0.05\r\n"))
                    continue
                if fault == "500":
                    writer.write(_response(b"500 Internal Server Error", {}))
                    continue
                rejected = self.apply(body, rejecting=fault == "reject some")
                if fault == "stall after":
                    await asyncio.sleep(STALL_SECONDS)
                if fault in ("reset after", "stall after"):
                    break
                writer.write(_response(b"200 OK", {"rejected": rejected}))
                await writer.drain()
                self.answered.append(body["batch_id"])
        writer.transport.abort()


def _response(status: bytes, body: object, headers: bytes = b"") -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(text), text)


@contextmanager
def chaos(seed: int, kind: type[Chaos] = Chaos) -> Iterator[Chaos]:
    """The server in a thread, on a port of its own."""
    found = kind(seed)
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        ready.set()
        with suppress(asyncio.CancelledError):
            await server.serve_forever()

    def work() -> None:
        asyncio.set_event_loop(loop)
        with suppress(RuntimeError):
            loop.run_until_complete(run())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
