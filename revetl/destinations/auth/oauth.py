"""Access tokens that expire: fetched on demand, and refreshed once after a rejected request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson

from revetl.destinations.base.flow import Refused
from revetl.local.interprocess import Lock, lock
from revetl.local.private_files import write_private

TokenRequest = Callable[[str | None], "httpx.Request"]
"""The refresh token there is, to the request that gives an access token for it (RFC 6749, sections 4.4, 6;
RFC 7523)."""
_CHECK = "Check the client ID and secret, and the refresh token."
_LOCK_SECONDS = 60.0
_POLL_SECONDS = 0.05


class TokenStore(Protocol):
    """Persists tokens between runs, shared by all processes that use them."""

    def lock(self) -> Lock | None:
        """Return the lock to hold while a token is refreshed; None if locking isn't possible."""

    def read(self) -> tuple[str | None, str | None]:
        """Return the access token, if there is an unexpired one, and the refresh token."""

    def write(self, answer: Mapping[str, Any]) -> None:
        """Store the provider's token response (RFC 6749, section 5.1). The caller holds the lock."""


class OAuth(httpx.Auth):
    """Bearer tokens fetched by `request` or read from `store`. A rejected token is refreshed once; a second
    rejection is final. Without `request`, tokens cannot be refreshed.

    A rotated refresh token is stored before it is used; without a store, it is lost when the process ends.
    When processes share a store, one refreshes at a time and the others use its token. Raises Refused with
    `way_out` if no token is issued; errors never contain a token. `header` is the name of the header and the
    prefix of the token in it. `secrets` are tokens that are already known.
    """

    requires_response_body = True

    def __init__(
        self,
        request: TokenRequest | None,
        *,
        refresh_token: str | None = None,
        token_file: Path | None = None,
        store: TokenStore | None = None,
        is_expired: Callable[[httpx.Response], bool] = lambda response: response.status_code == 401,
        header: tuple[str, str] = ("Authorization", "Bearer "),
        way_out: str = _CHECK,
        secrets: Iterable[str] = (),
    ) -> None:
        self._request = request
        self._store = RefreshTokenFile(token_file) if token_file is not None else store
        self._refresh_token = refresh_token
        self._is_expired = is_expired
        self._header = header
        self._way_out = way_out
        self._token: str | None = None
        self._lock = asyncio.Lock()
        self._secrets = set(secrets)

    @property
    def secrets(self) -> frozenset[str]:
        """Return every token used so far, for redaction."""
        return frozenset(self._secrets)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise NotImplementedError  # delivery and the lock are asynchronous

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._token is None:
            async with self._alone(None) as asked:
                if asked is not None:
                    response = yield asked
                    self._take(response, await response.aread())
        used = self._token
        self._sign(request)
        response = yield request
        await response.aread()
        if not self._is_expired(response):
            return
        # The first of several concurrent requests refreshes the token for all of them.
        async with self._alone(used) as asked:
            if asked is not None:
                renewed = yield asked
                self._take(renewed, await renewed.aread())
        self._sign(request)
        yield request

    def _sign(self, request: httpx.Request) -> None:
        name, before = self._header
        request.headers[name] = f"{before}{self._token}"

    @asynccontextmanager
    async def _alone(self, used: str | None) -> AsyncIterator[httpx.Request | None]:
        """Yield the request that replaces the `used` token, while holding the lock; None if the token has
        already been replaced."""
        async with self._lock:
            if self._token != used:
                yield None
                return
            async with _held(None if self._store is None else self._store.lock()):
                yield self._asked(used)

    def _asked(self, used: str | None) -> httpx.Request | None:
        if self._store is not None:
            access_token, refresh_token = self._store.read()
            if refresh_token is not None:
                self._refresh_token = refresh_token
                self._secrets.add(refresh_token)
            if access_token is not None and access_token != used:
                self._token = access_token
                self._secrets.add(access_token)
                return None
        if self._request is None:
            raise Refused(f"The access token was rejected and cannot be refreshed. {self._way_out}")
        return self._request(self._refresh_token)

    def _take(self, response: httpx.Response, content: bytes) -> None:
        if response.status_code == 429 or response.status_code >= 500:
            # The request that needed the token was certainly not sent.
            raise httpx.ConnectError(f"no access token: {response.status_code} {response.reason_phrase}")
        try:
            given: Any = orjson.loads(content)
            token = str(given["access_token"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            if self._store is not None and self._store.read()[1] not in (None, self._refresh_token):
                # Another machine, whose locks aren't visible here, refreshed it first.
                raise httpx.ConnectError("no access token: another process has just refreshed it") from None
            raise Refused(
                f"{response.request.url.host} issued no access token: {response.status_code} {why(content)}. "
                f"{self._way_out}"
            ) from None
        self._secrets.add(token)
        rotated = given.get("refresh_token")
        if rotated and rotated != self._refresh_token:
            self._refresh_token = str(rotated)
            self._secrets.add(self._refresh_token)
        if self._store is not None:
            self._store.write(given)
        self._token = token


def why(content: bytes) -> str:
    """Return the standard's two error keys and nothing else: the rest may echo the request."""
    try:
        given: Any = orjson.loads(content)
        return ", ".join(str(given[key]) for key in ("error", "error_description") if given.get(key))
    except (orjson.JSONDecodeError, AttributeError):
        return "response is not JSON"


@asynccontextmanager
async def _held(locked: Lock | None) -> AsyncIterator[None]:
    """Hold an interprocess lock without blocking the event loop. Raises httpx.ConnectError, which is
    retried, if the lock isn't available in time."""
    if locked is None:
        yield
        return
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while not locked.take():
            if time.monotonic() > until:
                raise httpx.ConnectError("no access token: another process has held the lock for a minute")
            await asyncio.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            locked.give_back()
    finally:
        locked.close()


class RefreshTokenFile:
    """A `TokenStore` that keeps only the refresh token, as text in the file named by the configuration."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lock(self) -> Lock | None:
        beside = lock(self._path.with_name(f".{self._path.name}.lock"))
        try:
            if beside.take():
                beside.give_back()
        except OSError:
            # A folder where no lock can be created can't store a rotated token either.
            beside.close()
            return None
        return beside

    def read(self) -> tuple[str | None, str | None]:
        try:
            return None, self._path.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None, None

    def write(self, answer: Mapping[str, Any]) -> None:
        rotated = answer.get("refresh_token")
        if rotated and str(rotated) != self.read()[1]:
            write_private(self._path, f"{rotated}\n")
