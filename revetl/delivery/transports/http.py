"""HTTP by aiohttp: complete responses of limited size and time, proxies from the environment, and one type of
error for every invalid response.

aiohttp has several families of exceptions for a response that is not HTTP, of which httpx-aiohttp translates
only some; the others would reach the user as a traceback.
"""

from __future__ import annotations

import asyncio
import codecs
import functools
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from revetl.destinations.base.destination import Destination
from revetl.destinations.base.large_answers import BODY, is_large
from revetl.errors import UsageError

HEADER_BYTES = 64 * 1024
"""The maximum length of a response's status line and of a header."""
ENCODINGS = ("gzip", "deflate")
"""The accepted encodings: a chunk of either expands at most a thousandfold."""
UPLOAD_BYTES_PER_SECOND = 64 * 1024
"""A request's deadline is extended by the time that its content takes at this rate."""
_LARGE_SECONDS = 3_600.0
_UNIT = 1024 * 1024
_LIMITS = httpx.Limits()


class HttpCarrier(AiohttpTransport):
    """Sends requests over HTTP and returns complete, decompressed responses. Raises httpx.TransportError for
    every failure of a connection or response: it is not HTTP, is too large, or takes too long."""

    def __init__(self, destination: Destination, **options: Any) -> None:
        super().__init__(**options)
        self._most = destination.max_response_bytes
        self._seconds = destination.deadline or 4 * destination.timeout

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limits.max_connections or 0,
            keepalive_timeout=self.limits.keepalive_expiry,
            ssl=self.ssl_context,
        )
        return aiohttp.ClientSession(
            connector=connector,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            headers={"Accept-Encoding": ", ".join(ENCODINGS)},
            # httpx keeps cookies.
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = _LARGE_SECONDS if is_large(request) else self._seconds
        seconds += int(request.headers.get("content-length", 0)) / UPLOAD_BYTES_PER_SECOND
        try:
            with _as_transport_errors(request):
                async with asyncio.timeout(seconds):
                    response = await super().handle_async_request(request)
                    try:
                        return await self._whole(request, response)
                    finally:
                        await response.aclose()
        except TimeoutError:
            raise httpx.ReadTimeout(
                f"no complete response within {seconds:,.3g} seconds", request=request
            ) from None

    async def _whole(self, request: httpx.Request, streamed: httpx.Response) -> httpx.Response:
        """Read the content of a response: in memory, or to disk if a large one is expected."""
        streamed.request = request
        _check_encoding(streamed)
        content, size = bytearray(), 0
        file: IO[bytes] | None = None
        async for chunk in streamed.aiter_bytes():
            size += len(chunk)
            if file is None and size > self._most:
                if not (is_large(request) and streamed.is_success):
                    raise httpx.RemoteProtocolError(
                        f"the response is larger than {self._most / _UNIT:,.3g} MiB, the destination's "
                        "max_response_bytes",
                        request=request,
                    )
                file = tempfile.TemporaryFile()  # noqa: SIM115  the reader of the response closes it
                file.write(content)
                content.clear()
            if file is None:
                content += chunk
            else:
                file.write(chunk)
        headers = [
            (name, value)
            for name, value in streamed.headers.raw
            if name.lower() not in (b"content-encoding", b"transfer-encoding", b"content-length")
        ]
        whole = httpx.Response(
            streamed.status_code,
            headers=headers,
            # A byte order mark is optional in JSON and CSV, and few parsers accept it.
            content=bytes(content.removeprefix(codecs.BOM_UTF8)),
            extensions=streamed.extensions,
            request=request,
        )
        if file is not None:
            file.seek(0)
            whole.extensions[BODY] = file
        _check_charset(whole)
        return whole


def _check_encoding(response: httpx.Response) -> None:
    """Refuse encodings that were not requested: in some, a few bytes can expand to a gigabyte."""
    named = response.headers.get("content-encoding", "").strip().lower()
    if named and named not in (*ENCODINGS, "identity"):
        raise httpx.RemoteProtocolError(f"the response has encoding '{named}', which was not requested")


def _check_charset(response: httpx.Response) -> None:
    """Refuse codecs that don't decode to text, such as Python's `hex`. Unknown names are read as UTF-8."""
    charset = response.charset_encoding
    try:
        codecs.lookup(charset or "utf-8")
    except LookupError:
        return
    try:
        b"a".decode(charset or "utf-8", "replace")
    except (LookupError, ValueError) as error:
        raise httpx.RemoteProtocolError(f"its charset '{charset}' is not a text encoding") from error


@contextmanager
def _as_transport_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        if isinstance(error.__cause__, aiohttp.ClientResponseError):
            # Its text contains the full address, with its secrets.
            raise type(error)(_first_line(error.__cause__.message), request=request) from error.__cause__
        raise
    except httpx.DecodingError as error:
        said = f"could not decompress the response: {error}"
        raise httpx.RemoteProtocolError(said, request=request) from error
    except aiohttp.ClientResponseError as error:
        raise httpx.RemoteProtocolError(_first_line(error.message), request=request) from error
    except (aiohttp.ClientError, HttpProcessingError) as error:
        raise httpx.RemoteProtocolError(_first_line(str(error)), request=request) from error
    except ValueError as error:
        raise httpx.LocalProtocolError(_first_line(str(error)), request=request) from error


def _first_line(text: str) -> str:
    lines = [line.strip(" :,") for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "a response that is not HTTP"


def _public_authorities() -> ssl.SSLContext:
    """Return the default certificates: those of SSL_CERT_FILE or SSL_CERT_DIR, or else certifi's. A file is
    read once per process, and again when it has changed."""
    file = os.environ.get("SSL_CERT_FILE") or None
    if os.environ.get("SSL_CERT_DIR") and not file:
        return httpx.create_ssl_context()
    return _read_once(file, Path(file).stat().st_mtime_ns if file and Path(file).exists() else None)


@functools.lru_cache(maxsize=1)
def _read_once(file: str | None, changed_ns: int | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


class HttpClient(HttpxAiohttpClient):
    """A client for a destination over `HttpCarrier` that respects HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
    NO_PROXY like httpx. Raises UsageError for an invalid proxy."""

    def __init__(self, destination: Destination, limits: httpx.Limits, auth: httpx.Auth | None) -> None:
        self._destination = destination
        try:
            super().__init__(
                verify=destination.tls() or _public_authorities(),
                limits=limits,
                timeout=destination.timeout,
                auth=auth,
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise UsageError(
                f"Invalid proxy in the environment: {error}. Set HTTPS_PROXY, HTTP_PROXY and "
                "ALL_PROXY to http://HOST:PORT and NO_PROXY to host names, or unset them."
            ) from None

    def _init_transport(
        self,
        verify: ssl.SSLContext | str | bool = True,
        *args: Any,
        limits: httpx.Limits = _LIMITS,
        **_: Any,
    ) -> httpx.AsyncBaseTransport:
        return HttpCarrier(self._destination, verify=verify, limits=limits)

    def _init_proxy_transport(
        self,
        proxy: httpx.Proxy,
        verify: ssl.SSLContext | str | bool = True,
        *args: Any,
        limits: httpx.Limits = _LIMITS,
        **_: Any,
    ) -> httpx.AsyncBaseTransport:
        if proxy.url.scheme not in ("http", "https"):
            raise ValueError(f"{proxy.url.scheme}://{proxy.url.host} is not an HTTP proxy")
        return HttpCarrier(self._destination, verify=verify, limits=limits, proxy=proxy)
