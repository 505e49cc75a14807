"""The one HTTP client: turns in a shared budget, retries, timeouts, and keeping secrets hidden."""

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
"""The longest pause that other runs of an account hear of: what asks for more may be wrong."""
_LONGEST = 366 * 86_400.0
_SAID_FROM = 3.0
"""A pause of so many seconds is worth a word."""
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

# It tells whole addresses to a program that logs at `info`, and some have a secret in their query.
logging.getLogger("httpx").addFilter(logs.Redaction())


class NotAccepted(Exception):
    """The response says that the batch, or a record in it, cannot be accepted as it is. `maybe_applied`: an
    earlier attempt of the same may have been applied all the same."""

    def __init__(self, verdict: Disposition, reason: str, *, maybe_applied: bool) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason
        self.maybe_applied = maybe_applied


class GaveUp(DestinationRefused):
    """A request's retries are used up; others may get through. `surely_unsent`: no attempt can have reached
    the destination."""

    def __init__(self, message: str, *, surely_unsent: bool) -> None:
        super().__init__(message)
        self.surely_unsent = surely_unsent


class CircuitOpen(GaveUp):
    """Nothing gets through: this request is given up, and whatever is sent after it will be."""


class _TryAgain(Exception):
    def __init__(
        self, cause: str, *, after: float | None = None, limited: bool = False, last: bool = False
    ) -> None:
        super().__init__(cause)
        self.after = after
        self.limited = limited
        self.last = last


class _Ended(Exception):
    """Sending has ended while a request waited."""


class Transport:
    """An open client for one destination; an async context manager.

    In flight and per second it keeps to the budget that the account has on this machine, whoever uses it.
    The circuit opens, for good, when nothing gets through: five requests in a row were given up (or two, and
    a minute has passed), or no connection was made in all attempts of one while no other request was
    answered, or the destination has had us wait for longer than its `max_pause`, or asks for that. What waits
    then raises CircuitOpen. `on_wait` is given a sentence for every pause of more than a few seconds, and
    `on_answer` every request with its answer.
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
        """Whether nothing will be sent any more, as nothing gets through."""
        return self._open_for is not None

    @property
    def got_through(self) -> bool:
        """Whether any request has been answered with other than a failure."""
        return self._answered > 0

    def halt(self) -> None:
        """Send nothing any more: what waits to be sent, or to be sent again, raises GaveUp within a quarter
        of a second. What is in flight may still be answered."""
        self._halted = True

    async def sleep(self, seconds: float) -> None:
        """Wait, as a job that is under way asks for. Raises GaveUp where sending ends meanwhile."""
        try:
            await self._budget.sleep(seconds)
        except _Ended:
            raise GaveUp("It was stopped while a job was under way.", surely_unsent=False) from None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The response to a request, when it is one for the connector to read. Its extension `maybe_applied`
        is whether an earlier attempt of the same may have been applied.

        Raises NotAccepted (too large, or a bad record), GaveUp (the retries of this request are used up),
        CircuitOpen (so that of all requests), and DestinationRefused (credentials, permission, or an address
        that is wrong).
        """
        from tenacity import AsyncRetrying, retry_if_exception_type

        attempts = _Attempts(self._destination.retries, self._answered)
        signed_by_project(request, self._destination.project)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_TryAgain),
                stop=attempts.used_up,
                wait=attempts.wait,
                # A wait that ends when sending does.
                sleep=self._budget.sleep,
                reraise=True,
            ):
                with attempt:
                    self._check()
                    return await self._once(request, attempts)
        except _TryAgain as error:
            raise self._given_up(request, error, attempts) from None
        except OSError as error:
            # Of the budget's files, or of a large answer's.
            file = error.filename or "a temporary file"
            raise DiskError(
                f"{file} could not be written or read ({error.strerror or error}). Free some space and run "
                "the sync again."
            ) from error
        except _Ended:
            why = self._open_for or "it was stopped"
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
                    self.redact(f"A request to {place_of(request.url)} cannot be sent: {error}.")
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
            # Inside the turn: whoever gets the next one knows what this answer said.
            what, unread = self._destination.heard(response)
            after = self._heed(response, what, sent_at)
        if unread is not None:
            # It may have been applied, or be a proxy's: nobody knows.
            attempts.maybe_applied = True
            said = self._said(response)
            why = f"its answer is {unread}, not what its API answers (is the address right?): {said}"
            raise _TryAgain(why, last=not self._destination.is_repeatable(request))
        if what in _AGAIN:
            limited = what is Disposition.LIMITED or response.status_code == 429
            # A 408 is not the tool's word that nothing was done, where doing it twice matters.
            may_repeat = self._destination.may_repeat(request)
            unsure = response.status_code >= 500 or (response.status_code == 408 and not may_repeat)
            attempts.maybe_applied |= unsure
            last = unsure and not may_repeat
            raise _TryAgain(self._said(response), after=after, limited=limited, last=last)
        if what is Disposition.FATAL:
            raise DestinationRefused(
                self.redact(f"{place_of(request.url)} refused us: {self._said(response)}.{_led(response)}")
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
        """Tell all sharers what the response says of the budget; gives the seconds they pause for."""
        again = what in _AGAIN
        named = self._destination.asked_pause(response)
        if named is None and again:
            named = retry_after(response.headers)
        after = quota_wait(response.headers) if named is None else named
        # No calendar has the moments that some name.
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
        """All of the account are to wait until a moment: say so, or end what would wait for too long."""
        seconds = until - time.time()
        who = place_of(httpx.URL(self._destination.base_url))
        why = self._asked_for or "another sync of the same account was asked to"
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
                f"{why} The limit is max_pause of the destination, {_span(self._destination.max_pause)}"
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
            "What it did not acknowledge is not taken for delivered; run the sync again when it is up."
            if surely_unsent or self._destination.may_repeat(request)
            else "Whether it was sent is unknown, and it is not sent again by itself: `revetl retry` does."
        )
        said = f"{place_of(request.url)} could not be delivered to: {why}. {what_follows}"
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
        """The beginning of a text, in one line, without any secret of the destination."""
        whole = " ".join(self.redact(text).split())
        return whole if len(whole) <= length else whole[:length] + "…"

    def redact(self, text: str) -> str:
        """The text without any secret of the destination, in any encoding. To be called before a cut."""
        return redact(text, (*self._destination.secrets(), *self._tokens))

    @property
    def _tokens(self) -> frozenset[str]:
        return frozenset(getattr(self._auth, "secrets", ()))


def _address_of(url: httpx.URL) -> str:
    """The place of a URL, with its port where it has one."""
    return place_of(url) + (f":{url.port}" if url.port and url.scheme in ("http", "https") else "")


def _too_long(seconds: float, why: str) -> str:
    return f"it asks for a pause of {_span(seconds)}: {why} That is until {_clock(time.time() + seconds)}."


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"


def _led(response: httpx.Response) -> str:
    """Of a redirect, where to; the rest of the address may hold a secret."""
    if not response.has_redirect_location:
        return ""
    try:
        to = response.request.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return ""
    return f" It redirects to {to.scheme}://{place_of(to)}, which is not followed: correct the address."


class _Attempts:
    """How long a request waits before its next attempt, and when there is none: tenacity's hooks."""

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
        """Whether it is given up. A 429 is no fault: it has a bound of its own."""
        if not _error_of(state).limited:
            self._left -= 1
        return _error_of(state).last or self._left < 0 or state.attempt_number >= _RATE_LIMITED_ATTEMPTS

    def wait(self, state: RetryCallState) -> float:
        """Seconds; the pause that all were asked for is waited for with the next turn."""
        if _error_of(state).after:
            return 0.0
        return _BACK_OFF(state)


def _error_of(state: RetryCallState) -> _TryAgain:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, _TryAgain)
    return error


def _never_connected(error: httpx.TransportError) -> bool:
    """Whether no byte of the request can have left: aiohttp tells the failure to connect from a lost
    connection, and httpx's names for the two are the same."""
    import aiohttp

    return isinstance(error, httpx.ConnectError) or isinstance(error.__cause__, aiohttp.ClientConnectorError)


def _cause(error: httpx.TransportError) -> str:
    # aiohttp names whole addresses, with what is secret in them.
    return _ADDRESS.sub("its address", _cause_of(error))


def _cause_of(error: httpx.TransportError) -> str:
    if _never_connected(error):
        return f"no connection ({error.__cause__ or error})"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"it gave no answer that can be read ({error})"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused ({error})"
    is_late = isinstance(error, httpx.ReadTimeout) or isinstance(error.__cause__, TimeoutError)
    if is_late and isinstance(error, httpx.TimeoutException):
        is_ours = error.__cause__ is None and str(error)
        return f"no answer in time ({error})" if is_ours else "no answer in time"
    return f"the connection broke ({str(error) or type(error).__name__})"
