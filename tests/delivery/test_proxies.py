"""HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as httpx's users know them, with a proxy on loopback."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from revetl.errors import DestinationRefused, UsageError
from tests.helpers.gate import Gate, gate
from tests.helpers.raw import RawServer, raw_server
from tests.helpers.sender import send_all, webhook

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def tool() -> Iterator[Gate]:
    with gate() as here:
        yield here


@pytest.fixture
def proxy(tool: Gate) -> Iterator[RawServer]:
    """A proxy that passes every request on to the tool, whatever host it is for, and opens no tunnel."""
    address = urlsplit(tool.url)

    def forward(connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"CONNECT"):
            connection.sendall(b"HTTP/1.1 403 No tunnels\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((str(address.hostname), address.port or 80)) as onward:
            onward.sendall(server.requests[-1])
            connection.sendall(onward.recv(65_536))

    with raw_server(forward) as server:
        yield server


@pytest.mark.parametrize(
    ("environment", "url", "by_proxy"),
    [
        ({"HTTP_PROXY": "PROXY"}, "http://tool.example/hook", True),
        ({"http_proxy": "PROXY"}, "http://tool.example/hook", True),
        ({"ALL_PROXY": "PROXY"}, "http://tool.example/hook", True),
        ({"HTTP_PROXY": "HOST"}, "http://tool.example/hook", True),
        ({"HTTP_PROXY": "PROXY"}, "LOOPBACK", True),
        ({"HTTPS_PROXY": "PROXY"}, "LOOPBACK", False),
        ({"HTTP_PROXY": "PROXY", "NO_PROXY": "127.0.0.1"}, "LOOPBACK", False),
        ({"HTTP_PROXY": "PROXY", "NO_PROXY": "other.example, 127.0.0.1"}, "LOOPBACK", False),
        ({"HTTP_PROXY": "PROXY", "NO_PROXY": "localhost"}, "LOCALHOST", False),
        ({"HTTP_PROXY": "PROXY", "NO_PROXY": "*"}, "LOOPBACK", False),
        ({"HTTP_PROXY": "PROXY", "NO_PROXY": "example.com"}, "http://tool.example/hook", True),
    ],
    ids=lambda value: " ".join(map("=".join, value.items())) if isinstance(value, dict) else str(value),
)
def test_a_request_goes_by_the_proxy_that_the_environment_names(
    tool: Gate,
    proxy: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    url: str,
    by_proxy: bool,
) -> None:
    for name, value in environment.items():
        whole = {"PROXY": proxy.url, "HOST": urlsplit(proxy.url).netloc}.get(value, value)
        monkeypatch.setenv(name, whole)
    address = {"LOOPBACK": tool.url, "LOCALHOST": tool.url.replace("127.0.0.1", "localhost")}.get(url, url)
    assert asyncio.run(send_all(webhook(address, retries=0), "a", 1)) == [200]
    assert ([seen.json for seen in tool.seen], len(proxy.requests)) == (["a-0"], int(by_proxy))
    if by_proxy:
        assert proxy.requests[0].startswith(f"POST {address.rstrip('/')}".encode())


def test_the_proxys_own_credentials_go_to_the_proxy(
    tool: Gate, proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://ada:s3cret@"))
    assert asyncio.run(send_all(webhook("http://tool.example/", retries=0), "a", 1)) == [200]
    said = base64.b64encode(b"ada:s3cret")
    assert b"proxy-authorization: basic " + said.lower() in proxy.requests[0].lower()


def test_a_proxy_that_opens_no_tunnel_is_a_sentence(
    proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://ada:s3cret@"))
    (error,) = asyncio.run(send_all(webhook("https://tool.example/", retries=0), "a", 1))
    assert isinstance(error, DestinationRefused)
    assert "Could not deliver to tool.example: the proxy refused (No tunnels)" in str(error)
    assert proxy.requests[0].startswith(b"CONNECT tool.example:443 ")
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1:21"])
def test_a_proxy_of_another_protocol_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", url.replace("://", "://ada:s3cret@"))
    with pytest.raises(UsageError, match="Invalid proxy in the environment") as error:
        asyncio.run(send_all(webhook("http://tool.example/", retries=0), "a", 1))
    assert "s3cret" not in str(error.value)
