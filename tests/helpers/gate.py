"""A server over loopback that answers as a test says, and counts who is inside at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True)
class Answer:
    """What a request is answered after `seconds`; status 0 closes the connection instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: str = "{}"


@dataclass(frozen=True)
class Seen:
    """A request: its number from 0, when it came, and its JSON."""

    number: int
    at: float
    json: object


class Gate:
    """What the server saw; `rule` may be changed at any time."""

    def __init__(self, rule: Callable[[Seen], Answer]) -> None:
        self.rule = rule
        self.url = ""
        self.seen: list[Seen] = []
        self.inside = 0
        self.most_inside = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                named = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
                body = await reader.readexactly(int(named[b"content-length"]))
                self.inside += 1
                self.most_inside = max(self.most_inside, self.inside)
                seen = Seen(len(self.seen), time.time(), orjson.loads(body))
                self.seen.append(seen)
                try:
                    answer = self.rule(seen)
                    await asyncio.sleep(answer.seconds)
                finally:
                    self.inside -= 1
                if not answer.status:
                    break
                lines = [f"HTTP/1.1 {answer.status} Said", f"Content-Length: {len(answer.body.encode())}"]
                lines += [f"{name}: {value}" for name, value in answer.headers.items()]
                writer.write(("\r\n".join(lines) + "\r\n\r\n" + answer.body).encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is done, or the test
        finally:
            writer.close()


@contextmanager
def gate(rule: Callable[[Seen], Answer] = lambda seen: Answer()) -> Iterator[Gate]:
    """A gate in a thread of its own."""
    here = Gate(rule)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(here.serve, "127.0.0.1", 0, limit=1 << 20))
    here.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield here
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        server.close()
        loop.close()
