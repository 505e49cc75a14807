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
    "answer": 0.50,
    "reject some": 0.10,
    "429": 0.08,
    "500": 0.08,
    "reset before": 0.06,
    "reset after": 0.06,
    "stall before": 0.03,
    "stall after": 0.03,
    "malformed before": 0.03,
    "malformed after": 0.03,
}
MALFORMED = (
    b"HTTP/1.1 maybe\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n<html>Bye</html>",
)
"""Answers that are not HTTP, or not what a webhook answers."""
STALL_SECONDS = 1.0
REJECTED_SHARE = 0.3


@dataclass(frozen=True)
class Applied:
    """A batch that was applied, and whether its sender was told so."""

    batch_id: str
    operation: str
    ids: tuple[str, ...]
    answered: bool


@dataclass
class Chaos:
    """What the destination holds, and what it was sent. `calm` ends the bad days; who is in `refused` is
    rejected on every day."""

    seed: int
    url: str = ""
    calm: bool = False
    refused: set[str] = field(default_factory=set)
    audiences: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    log: list[Applied] = field(default_factory=list)
    requests: int = 0

    @property
    def answered(self) -> list[str]:
        """The ids of the batches that were applied and answered."""
        return [batch.batch_id for batch in self.log if batch.answered]

    def fault(self) -> str:
        """What happens to the next request: the seed says it of each by its number."""
        self.requests += 1
        if self.calm:
            return "answer"
        chance = random.Random(f"{self.seed} {self.requests}")
        return chance.choices(list(FAULTS), list(FAULTS.values()))[0]

    async def malformed(self, writer: asyncio.StreamWriter) -> None:
        """Answer what nobody can read, by the number of the request, and hang up."""
        writer.write(random.Random(f"{self.seed} {self.requests} malformed").choice(MALFORMED))
        await writer.drain()
        writer.close()

    def apply(self, body: dict[str, Any], *, rejecting: bool) -> list[dict[str, str]]:
        """Make it so, but for the rejected; gives them."""
        chance = random.Random(f"{self.seed} {self.requests} rejected")
        rejected = []
        audience = self.audiences.setdefault(body["audience"], {})
        for record in body["records"]:
            name = record["id"]
            if name in self.refused or (rejecting and chance.random() < REJECTED_SHARE):
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
                if fault == "malformed before":
                    await self.malformed(writer)
                    return
                if fault == "429":
                    writer.write(_response(b"429 Too Many Requests", {}, b"Retry-After: 0.05\r\n"))
                    continue
                if fault == "500":
                    writer.write(_response(b"500 Internal Server Error", {}))
                    continue
                rejected = self.apply(body, rejecting=fault == "reject some")
                silent = fault in ("reset after", "stall after", "malformed after")
                ids = tuple(record["id"] for record in body["records"])
                self.log.append(Applied(body["batch_id"], body["operation"], ids, not silent))
                if fault == "stall after":
                    await asyncio.sleep(STALL_SECONDS)
                if fault == "malformed after":
                    await self.malformed(writer)
                    return
                if silent:
                    break
                writer.write(_response(b"200 OK", {"rejected": rejected}))
                await writer.drain()
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
