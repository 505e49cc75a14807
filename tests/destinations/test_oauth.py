"""Access tokens over real HTTP: fetched once for all, renewed once when refused, never shown."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs

import httpx
import pytest

from revetl.delivery.http import Transport
from revetl.destinations.auth.oauth import OAuth
from revetl.destinations.base.destination import (
    Batch,
    Destination,
    Identifier,
    Refused,
)
from revetl.errors import DestinationRefused
from tests.helpers.http import JsonHandler, LoopbackServer


@dataclass
class Issuer:
    """A tool with tokens. `valid` is the access token it takes; `answers` are given in the place of tokens,
    in order."""

    url: str = ""
    valid: str = ""
    refresh_token: str = "refresh-0"
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asked_with: list[str] = field(default_factory=list)
    sent: int = 0
    never_content: bool = False

    def issue(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        """A token, and another refresh token."""
        self.asked_with.append(refresh_token)
        if self.answers:
            return self.answers.pop(0)
        if refresh_token != self.refresh_token:
            return 400, {"error": "invalid_grant", "error_description": "expired", "echo": refresh_token}
        self.refresh_token = f"refresh-{len(self.asked_with)}"
        self.valid = f"access-{len(self.asked_with)}"
        return 200, {"access_token": self.valid, "refresh_token": self.refresh_token}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    state = Issuer()
    turn = threading.Lock()

    class Handler(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802  the name that http.server calls
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with turn:
                if self.path == "/token":
                    status, answer = state.issue(parse_qs(body)["refresh_token"][0])
                elif self.headers["authorization"] != f"Bearer {state.valid}" or state.never_content:
                    status, answer = 401, {"error": f"no: {self.headers['authorization']}"}
                else:
                    status, answer = 200, {}
                    state.sent += 1
            self.answer(status, answer)

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    thread.join()


class Tool(Destination):
    """Takes anything that is posted with a token."""

    batch: ClassVar[Batch] = Batch(records=1)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="id"),)
    type: Literal["tool"] = "tool"
    token_file: Path | None = None

    def auth(self) -> httpx.Auth:
        return OAuth(self._token, refresh_token="refresh-0", token_file=self.token_file)

    def _token(self, refresh_token: str | None) -> httpx.Request:
        return httpx.Request("POST", f"{self.base_url}/token", data={"refresh_token": refresh_token or ""})


async def _send(tool: Tool, count: int) -> list[int | BaseException]:
    async with Transport(tool) as transport:
        sends = [transport.send(tool.post("/send", json={"n": n})) for n in range(count)]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    return [each if isinstance(each, BaseException) else each.status_code for each in outcomes]


def test_one_token_does_for_all(issuer: Issuer) -> None:
    assert asyncio.run(_send(Tool(base_url=issuer.url), 20)) == [200] * 20
    assert (issuer.asked_with, issuer.sent) == (["refresh-0"], 20)


def test_a_token_that_ended_is_renewed_once_for_all(issuer: Issuer) -> None:
    tool = Tool(base_url=issuer.url)

    async def run() -> None:
        async with Transport(tool) as transport:
            send = partial(transport.send, tool.post("/send", json={}))
            assert (await send()).status_code == 200
            issuer.valid = "another"
            assert [each.status_code for each in await asyncio.gather(*(send() for _ in range(8)))] == [
                200
            ] * 8

    asyncio.run(run())
    assert issuer.asked_with == ["refresh-0", "refresh-1"]


def test_a_second_refusal_stands_and_shows_no_token(issuer: Issuer) -> None:
    issuer.never_content = True
    (error,) = asyncio.run(_send(Tool(base_url=issuer.url), 1))
    assert isinstance(error, DestinationRefused)
    assert "401" in str(error)
    assert "access-" not in str(error)
    assert len(issuer.asked_with) == 2


def test_a_rotated_token_is_kept_for_the_next_run(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    for run in (1, 2):
        assert asyncio.run(_send(Tool(base_url=issuer.url, token_file=file), 1)) == [200]
        assert file.read_text() == f"refresh-{run}\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert issuer.asked_with == ["refresh-0", "refresh-1"]
    assert [each.name for each in tmp_path.glob("token*")] == ["token"]


def test_two_that_renew_at_once_by_one_file_lose_no_rotated_token(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    found: list[list[int | BaseException]] = []

    def run() -> None:
        found.append(asyncio.run(_send(Tool(base_url=issuer.url, token_file=file), 1)))

    # Each with its own event loop and file descriptor, as processes have.
    threads = [threading.Thread(target=run) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # One that a later one's renewal was ahead of renews once more; nobody's refresh token was spent.
    assert found == [[200]] * 4
    assert issuer.asked_with == [f"refresh-{number}" for number in range(len(issuer.asked_with))]
    assert file.read_text() == f"{issuer.refresh_token}\n"


def test_a_refresh_token_that_ended(issuer: Issuer) -> None:
    issuer.refresh_token = "another"
    (error,) = asyncio.run(_send(Tool(base_url=issuer.url), 1))
    assert isinstance(error, Refused)
    assert "issued no access token: 400 invalid_grant, expired. Check" in str(error)
    assert "refresh-0" not in str(error)


def test_tokens_that_are_not_to_be_had_now_are_asked_for_again(issuer: Issuer) -> None:
    issuer.answers = [(503, {}), (429, {})]
    assert asyncio.run(_send(Tool(base_url=issuer.url), 1)) == [200]
    assert len(issuer.asked_with) == 3
