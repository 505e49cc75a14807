"""The one HTTP client: pacing, retries with `Retry-After`, timeouts, and keeping secrets out of sight."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

import httpx
import stamina
from aiolimiter import AsyncLimiter

from revetl.destinations.base import Destination, Verdict, verdict
from revetl.errors import DestinationRefused

_LONGEST_WAIT = 60.0
_RATE_LIMITED_ATTEMPTS = 50
_EXCERPT = 300


class NotAccepted(Exception):
    """The response says that the batch, or a record in it, cannot be accepted as it is."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


class GaveUp(DestinationRefused):
    """Retries are used up. `surely_unsent`: no attempt can have reached the destination."""

    def __init__(self, message: str, *, surely_unsent: bool) -> None:
        super().__init__(message)
        self.surely_unsent = surely_unsent


class _TryAgain(Exception):
    def __init__(self, cause: str, *, after: float | None = None, limited: bool = False) -> None:
        super().__init__(cause)
        self.after = after
        self.limited = limited


class Transport:
    """An open client for one destination; an async context manager."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._secrets = destination.secrets()
        pace = destination.pace
        self._limiter = AsyncLimiter(pace.requests, pace.per_seconds) if pace else None
        self._resume_at = 0.0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Transport:
        from httpx_aiohttp import AiohttpTransport

        in_flight = self._destination.max_in_flight
        limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
        self._client = await self._stack.enter_async_context(
            httpx.AsyncClient(
                transport=AiohttpTransport(limits=limits),
                timeout=self._destination.timeout,
                auth=self._destination.auth(),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The response to a request, when it is one for the connector to read.

        Raises NotAccepted (too large, or a bad record), GaveUp (retries used up), and DestinationRefused
        (credentials, permission, or an address that is wrong).
        """
        attempts = _Attempts(self._destination.retries)
        try:
            async for attempt in stamina.retry_context(
                on=attempts.wait_for,
                attempts=_RATE_LIMITED_ATTEMPTS,
                timeout=None,
                wait_initial=0.25,
                wait_max=_LONGEST_WAIT,
                wait_jitter=0.25,
            ):
                with attempt:
                    return await self._once(request, attempts)
        except _TryAgain as error:
            raise GaveUp(
                f"{request.url.host} could not be delivered to: {self.redact(str(error))}. What it did not "
                "acknowledge is not taken for delivered; run the sync again when it is up.",
                surely_unsent=not attempts.reached,
            ) from None
        raise AssertionError("stamina ends with a result or an exception")

    async def _once(self, request: httpx.Request, attempts: _Attempts) -> httpx.Response:
        loop = asyncio.get_running_loop()
        if (pause := self._resume_at - loop.time()) > 0:
            await asyncio.sleep(pause)
        if self._limiter:
            await self._limiter.acquire()
        try:
            response = await self._client.send(request)
        except httpx.TransportError as error:
            attempts.reached |= not _never_connected(error)
            raise _TryAgain(_cause(error)) from error
        attempts.reached = True
        status = response.status_code
        match verdict(status, self._destination.statuses):
            case Verdict.PASS:
                return response
            case Verdict.RETRY:
                after = retry_after(response.headers)
                if after is not None:
                    # The others in flight would only be told the same.
                    self._resume_at = max(self._resume_at, loop.time() + after)
                raise _TryAgain(self._said(response), after=after, limited=status == 429)
            case Verdict.FATAL:
                raise DestinationRefused(f"{request.url.host} refused us: {self._said(response)}.")
            case other:
                raise NotAccepted(other, self._said(response))

    def _said(self, response: httpx.Response) -> str:
        body = " ".join(response.text.split())
        excerpt = body if len(body) <= _EXCERPT else body[:_EXCERPT] + "…"
        return self.redact(f"{response.status_code} {response.reason_phrase} {excerpt}".strip())

    def redact(self, text: str) -> str:
        """The text without any secret of the destination."""
        return redact(text, self._secrets)


class _Attempts:
    """How long to wait before the next attempt, or that there is none: stamina's back-off hook."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self.reached = False

    def wait_for(self, error: Exception) -> bool | float:
        if not isinstance(error, _TryAgain):
            return False
        if not error.limited:
            self._left -= 1
            if self._left < 0:
                return False
        return True if error.after is None else error.after


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """The text with each secret of four characters or more replaced."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a `Retry-After` header asks for, as seconds or as a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _never_connected(error: httpx.TransportError) -> bool:
    """Whether no byte of the request can have left: aiohttp tells the failure to connect from a lost
    connection, and httpx's names for the two are the same."""
    import aiohttp

    return isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, aiohttp.ClientConnectorError)


def _cause(error: httpx.TransportError) -> str:
    if _never_connected(error):
        return f"no connection ({error.__cause__ or error})"
    if isinstance(error.__cause__, TimeoutError) or not str(error):
        return "no answer in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__
    return f"the connection broke ({error})"
