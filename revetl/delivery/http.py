"""The HTTP client of all destinations: shared rate limits, retries, timeouts, and redaction of secrets."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING

import httpx

from revetl.delivery.rate_limiter import RateLimiter, account
from revetl.delivery.tls_errors import distrust
from revetl.delivery.transports import client_of, place_of
from revetl.destinations.base.destination import Destination, Disposition
from revetl.destinations.base.retry_headers import quota_wait, retry_after
from revetl.errors import DestinationRefused, DiskError
from revetl.local.redaction import redact
from revetl.observability import logs, telemetry
from revetl.observability.text import counted
from revetl.sandbox.owner import refusal_of, signed_by_project

if TYPE_CHECKING:
    from tenacity import RetryCallState

_SHARED_PAUSE = 3_600.0
"""The longest pause that is shared with other runs of an account: longer ones may be a mistake."""
_LONGEST = 366 * 86_400.0
_SAID_FROM = 3.0
"""The minimum seconds of a pause that is reported."""
_SLACK_SECONDS = 1.0
_RATE_LIMITED_ATTEMPTS = 50
_DRY_REQUESTS = 5
_AGAIN = (Disposition.RETRY, Disposition.LIMITED)
_DRY_SECONDS = 60.0
_EXCERPT = 300
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ADDRESS = re.compile(r"https?://[^\s'\")]+")


def _exponential(state: RetryCallState) -> float:
    from tenacity import wait_exponential_jitter

    return wait_exponential_jitter(multiplier=0.25, max=60.0, jitter=0.25)(state)


_BACK_OFF: Callable[[RetryCallState], float] = _exponential
"""Seconds to wait before an attempt."""

# httpx logs full addresses at `info`, and some have a secret in their query.
logging.getLogger("httpx").addFilter(logs.Redaction())


class NotAccepted(Exception):
    """The response rejects the batch, or a record in it. `maybe_applied`: an earlier attempt of the request
    may have been applied anyway."""

    def __init__(self, verdict: Disposition, reason: str, *, maybe_applied: bool) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason
        self.maybe_applied = maybe_applied


class GaveUp(DestinationRefused):
    """The retries of a request are used up; other requests may succeed. `surely_unsent`: no attempt can have
    reached the destination."""

    def __init__(self, message: str, *, surely_unsent: bool) -> None:
        super().__init__(message)
        self.surely_unsent = surely_unsent


class CircuitOpen(GaveUp):
    """No request succeeds: this one is given up, and so will be all later ones."""


class _TryAgain(Exception):
    def __init__(
        self, cause: str, *, after: float | None = None, limited: bool = False, last: bool = False
    ) -> None:
        super().__init__(cause)
        self.after = after
        self.limited = limited
        self.last = last


class _Ended(Exception):
    """Sending ended while a request waited."""


class Transport:
    """An open client for one destination; an async context manager.

    All clients of an account on this machine share its limits on concurrent requests and on requests per
    second. The circuit breaker opens permanently when no request succeeds: five in a row were given up (or
    two, after a minute), or no attempt of a request could connect while no other request was answered, or the
    destination made the client wait, or asks it to wait, longer than its `max_pause`. Waiting requests then
    raise CircuitOpen. `on_wait` is called with a message for every pause of more than a few seconds,
    `on_answer` with every request and its response.
    """

    def __init__(self, destination: Destination, on_wait: Callable[[str], None] = lambda _: None) -> None:
        logs.hide(*destination.secrets())
        self._destination = destination
        self._auth = destination.auth()
        logs.hide(*self._tokens)
        self._answered = 0
        self._dry_requests = 0
        self._dry_since: float | None = None
        self._open_for: str | None = None
        self._limited_since: float | None = None
        self._on_wait = on_wait
        self._asked_for = ""
        self._said_until = 0.0
        self._unreachable_said = False
        self._halted = False
        self.on_answer: Callable[[httpx.Request, httpx.Response], None] = lambda *_: None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Transport:
        self._budget = RateLimiter(
            account(self._destination.base_url, self._destination.secrets()),
            at_once=self._destination.max_in_flight,
            pace=self._destination.pace,
            check=self._check,
            on_pause=self._pausing,
        )
        self._stack.callback(self._budget.close)
        self._client = await self._stack.enter_async_context(client_of(self._destination, self._auth))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def circuit_open(self) -> bool:
        """Whether the circuit breaker is open, so that nothing more is sent."""
        return self._open_for is not None

    @property
    def got_through(self) -> bool:
        """Whether any request got a response other than a failure."""
        return self._answered > 0

    def halt(self) -> None:
        """Stop sending: requests that wait to be sent or retried raise GaveUp within a quarter of a second.
        Requests in flight may still get a response."""
        self._halted = True

    async def sleep(self, seconds: float) -> None:
        """Wait between polls of a running job. Raises GaveUp if sending ends meanwhile."""
        try:
            await self._budget.sleep(seconds)
        except _Ended:
            raise GaveUp("The run was stopped while a job was in progress.", surely_unsent=False) from None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response for the connector to read. Its extension `maybe_applied` is
        whether an earlier attempt of the request may have been applied.

        Raises NotAccepted (too large, or an invalid record), GaveUp (the retries of this request are used
        up), CircuitOpen (no request succeeds), and DestinationRefused (wrong credentials, permissions or
        address)."""
        from tenacity import AsyncRetrying, retry_if_exception_type

        attempts = _Attempts(self._destination.retries, self._answered)
        signed_by_project(request, self._destination.project)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_TryAgain),
                stop=attempts.used_up,
                wait=attempts.wait,
                # Stop waiting when sending ends.
                sleep=self._budget.sleep,
                reraise=True,
            ):
                with attempt:
                    self._check()
                    return await self._once(request, attempts)
        except _TryAgain as error:
            raise self._given_up(request, error, attempts) from None
        except OSError as error:
            # The files of the rate limiter, or of a large response.
            file = error.filename or "a temporary file"
            raise DiskError(
                f"Could not write or read {file} ({error.strerror or error}). Free some space and run the "
                "sync again."
            ) from error
        except _Ended:
            why = self._open_for or "the run was stopped"
            raise self._error(request, why, attempts, CircuitOpen if self._open_for else GaveUp) from None
        raise AssertionError("it ends with a response or an error")

    async def _once(self, request: httpx.Request, attempts: _Attempts) -> httpx.Response:
        async with self._budget.turn() as sent_at:
            if self._dry_since is None:
                self._dry_since = time.monotonic()
            try:
                response = await self._client.send(request)
            except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise DestinationRefused(
                    self.redact(f"Could not send a request to {place_of(request.url)}: {error}.")
                ) from None
            except httpx.TransportError as error:
                if (untrusting := distrust(error)) is not None:
                    raise DestinationRefused(f"{request.url.host} {untrusting}") from None
                reached = not _never_connected(error)
                attempts.reached |= reached
                attempts.maybe_applied |= reached
                telemetry.request(
                    self._destination.type, "no answer" if attempts.reached else "no connection"
                )
                is_last = reached and not self._destination.may_repeat(request)
                if not reached:
                    self._say_unreachable(request.url, attempts)
                raise _TryAgain(_cause(error), last=is_last) from error
            logs.hide(*self._tokens)
            telemetry.request(self._destination.type, response.status_code)
            attempts.reached = True
            self.on_answer(request, response)
            if (misdirected := refusal_of(response)) is not None:
                raise DestinationRefused(misdirected)
            # Before the slot is released, so that the next request respects this response.
            what, unread = self._destination.heard(response)
            after = self._heed(response, what, sent_at)
        if unread is not None:
            # The request may have been applied, or the response may be a proxy's.
            attempts.maybe_applied = True
            said = self._said(response)
            why = f"its response is {unread}, not a response of its API (check the address): {said}"
            raise _TryAgain(why, last=not self._destination.is_repeatable(request))
        if what in _AGAIN:
            limited = what is Disposition.LIMITED or response.status_code == 429
            # For requests that must not run twice, a 408 doesn't prove that nothing was done.
            may_repeat = self._destination.may_repeat(request)
            unsure = response.status_code >= 500 or (response.status_code == 408 and not may_repeat)
            attempts.maybe_applied |= unsure
            last = unsure and not may_repeat
            raise _TryAgain(self._said(response), after=after, limited=limited, last=last)
        if what is Disposition.FATAL:
            raise DestinationRefused(
                self.redact(
                    f"{place_of(request.url)} refused the request: {self._said(response)}.{_led(response)}"
                )
            )
        self._answered += 1
        self._limited_since = None
        self._dry_requests = 0
        self._dry_since = None
        if what is Disposition.PASS:
            response.extensions["maybe_applied"] = attempts.maybe_applied
            return response
        raise NotAccepted(what, self._said(response), maybe_applied=attempts.maybe_applied)

    def _heed(self, response: httpx.Response, what: Disposition, sent_at: float) -> float | None:
        """Share a response's rate limit with all clients of the account; return the seconds to pause."""
        again = what in _AGAIN
        named = self._destination.asked_pause(response)
        if named is None and again:
            named = retry_after(response.headers)
        after = quota_wait(response.headers) if named is None else named
        # Some responses name times outside the calendar.
        after = None if after is None else min(after, _LONGEST)
        limited = response.status_code == 429 or what is Disposition.LIMITED
        if limited or (named is not None and response.status_code == 503):
            self._budget.overloaded(sent_at)
        elif not again:
            self._budget.succeeded()
        if again:
            self._asked_for = self._said(response)
        if again and (limited or after):
            now = time.time()
            self._limited_since = self._limited_since or now
            if now + (after or 0.0) - self._limited_since > self._destination.max_pause:
                self._open(_too_long(now + (after or 0.0) - self._limited_since, self._asked_for))
        elif after is not None and after > self._destination.max_pause:
            return None
        if after:
            self._budget.pause(min(after, _SHARED_PAUSE))
        return after

    def _pausing(self, until: float) -> None:
        """Report a pause of the account, or open the circuit breaker if the pause is too long."""
        seconds = until - time.time()
        who = place_of(httpx.URL(self._destination.base_url))
        why = self._asked_for or "the destination paused another sync of the same account"
        if seconds > self._destination.max_pause + _SLACK_SECONDS:
            self._open(_too_long(seconds, why))
            return
        if seconds < _SAID_FROM or abs(until - self._said_until) < _SLACK_SECONDS:
            return
        self._said_until = until
        at = _clock(until)
        logs.event("waiting", host=who, until=at, seconds=round(seconds), why=why)
        self._on_wait(f"{who}: waiting for {_span(seconds)}, until {at}: {why}")

    def _say_unreachable(self, url: httpx.URL, attempts: _Attempts) -> None:
        """Say once why a run that makes no connection takes its time."""
        if self._unreachable_said or attempts.is_last:
            return
        self._unreachable_said = True
        self._on_wait(f"{_address_of(url)}: no connection. Trying {counted(attempts.left, 'more time')}.")

    def _open(self, why: str) -> None:
        if self._open_for is None:
            self._open_for = self.redact(
                f"{why} The destination's max_pause is {_span(self._destination.max_pause)}"
            )
            logs.event(
                "circuit_open", host=place_of(httpx.URL(self._destination.base_url)), why=self._open_for
            )

    def _given_up(self, request: httpx.Request, error: _TryAgain, attempts: _Attempts) -> GaveUp:
        self._dry_requests += 1
        dry_for = 0.0 if self._dry_since is None else time.monotonic() - self._dry_since
        in_a_row = _DRY_REQUESTS if dry_for < _DRY_SECONDS else 2
        unreachable = not attempts.reached and self._answered == attempts.answered_before
        why = self._open_for or self.redact(str(error))
        if self._open_for is None and (unreachable or self._dry_requests >= in_a_row):
            self._open_for = why
            logs.event("circuit_open", host=place_of(request.url), why=why)
        return self._error(request, why, attempts, CircuitOpen if self._open_for else GaveUp)

    def _error(self, request: httpx.Request, why: str, attempts: _Attempts, kind: type[GaveUp]) -> GaveUp:
        if self._destination.may_repeat(request):
            surely_unsent = not attempts.reached
        else:
            surely_unsent = not attempts.maybe_applied
        what_follows = (
            "Unacknowledged records are not marked as delivered; run the sync again when it is up."
            if surely_unsent or self._destination.may_repeat(request)
            else "The outcome is unknown, and the records are not sent again automatically; to do so, use "
            "`revetl retry`."
        )
        said = f"Could not deliver to {place_of(request.url)}: {why}. {what_follows}"
        if not attempts.reached and request.url.host in _LOOPBACK:
            said += (
                f" {_address_of(request.url)} is on this machine: if it is the sandbox, start it with "
                "`revetl sandbox`."
            )
        return kind(self.redact(said), surely_unsent=surely_unsent)

    def _check(self) -> None:
        if self._halted or self._open_for is not None:
            raise _Ended

    def _said(self, response: httpx.Response) -> str:
        return f"{response.status_code} {response.reason_phrase} {self.excerpt(response.text)}".strip()

    def excerpt(self, text: str, length: int = _EXCERPT) -> str:
        """Return the beginning of a text, on one line, without the destination's secrets."""
        whole = " ".join(self.redact(text).split())
        return whole if len(whole) <= length else whole[:length] + "…"

    def redact(self, text: str) -> str:
        """Return the text without the destination's secrets, in any encoding. Call it before cutting a
        text."""
        return redact(text, (*self._destination.secrets(), *self._tokens))

    @property
    def _tokens(self) -> frozenset[str]:
        return frozenset(getattr(self._auth, "secrets", ()))


def _address_of(url: httpx.URL) -> str:
    """The place of a URL, with its port where it has one."""
    return place_of(url) + (f":{url.port}" if url.port and url.scheme in ("http", "https") else "")


def _too_long(seconds: float, why: str) -> str:
    return f"it asks for a pause of {_span(seconds)}, until {_clock(time.time() + seconds)}: {why}"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"


def _led(response: httpx.Response) -> str:
    """Return the host of a redirect; the rest of the address may contain a secret."""
    if not response.has_redirect_location:
        return ""
    try:
        to = response.request.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return ""
    return f" It redirects to {to.scheme}://{place_of(to)}; redirects are not followed. Correct the address."


class _Attempts:
    """When a request is retried, and when it is given up: tenacity's hooks."""

    def __init__(self, retries: int, answered_before: int) -> None:
        self._left = retries
        self.reached = False
        self.maybe_applied = False
        self.answered_before = answered_before

    @property
    def left(self) -> int:
        """How many more attempts there are, where nothing but failures follows."""
        return max(self._left, 0)

    @property
    def is_last(self) -> bool:
        return self._left <= 0

    def used_up(self, state: RetryCallState) -> bool:
        """Whether the request is given up. A 429 isn't a failure, and has a separate limit."""
        if not _error_of(state).limited:
            self._left -= 1
        return _error_of(state).last or self._left < 0 or state.attempt_number >= _RATE_LIMITED_ATTEMPTS

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait; pauses of the account are waited for before the next attempt."""
        if _error_of(state).after:
            return 0.0
        return _BACK_OFF(state)


def _error_of(state: RetryCallState) -> _TryAgain:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, _TryAgain)
    return error


def _never_connected(error: httpx.TransportError) -> bool:
    """Whether no byte of the request can have been sent: aiohttp distinguishes a failure to connect from a
    lost connection, but httpx raises the same error for both."""
    import aiohttp

    return isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, aiohttp.ClientConnectorError)


def _cause(error: httpx.TransportError) -> str:
    # aiohttp's messages have full addresses, with the secrets in them.
    return _ADDRESS.sub("its address", _cause_of(error))


def _cause_of(error: httpx.TransportError) -> str:
    if _never_connected(error):
        return f"no connection ({error.__cause__ or error})"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"invalid response ({error})"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused ({error})"
    is_late = isinstance(error, httpx.ReadTimeout) or isinstance(error.__cause__, TimeoutError)
    if is_late and isinstance(error, httpx.TimeoutException):
        is_ours = error.__cause__ is None and str(error)
        return f"no answer in time ({error})" if is_ours else "no answer in time"
    return f"the connection broke ({str(error) or type(error).__name__})"
