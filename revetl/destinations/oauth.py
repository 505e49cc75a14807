"""Access tokens that end: fetched when they are needed, and once more when the destination says no."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import orjson

from revetl.destinations.flows import Refused

TokenRequest = Callable[[str | None], httpx.Request]
"""The refresh token there is, to the request that gives an access token for it (RFC 6749, sections 4.4, 6;
RFC 7523)."""


class OAuth(httpx.Auth):
    """Bearer tokens by `request`. A token that was refused is renewed once; the second refusal stands.

    A refresh token that is rotated takes the place of the old one in `token_file` before it is used; without
    the file, it is forgotten with the process. Raises Refused when no token is given, and never shows one.
    """

    requires_response_body = True

    def __init__(
        self,
        request: TokenRequest,
        *,
        refresh_token: str | None = None,
        token_file: Path | None = None,
        is_expired: Callable[[httpx.Response], bool] = lambda response: response.status_code == 401,
    ) -> None:
        self._request = request
        self._file = token_file
        self._refresh_token = _kept(token_file) or refresh_token
        self._is_expired = is_expired
        self._token: str | None = None
        self._lock = asyncio.Lock()
        self._secrets: set[str] = set()

    @property
    def secrets(self) -> frozenset[str]:
        """Every token it has ever had, to be kept out of whatever is shown."""
        return frozenset(self._secrets)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise NotImplementedError  # delivery is asynchronous, and so is the lock

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        async with self._lock:
            if self._token is None:
                response = yield self._request(self._refresh_token)
                self._take(response, await response.aread())
        used = self._token
        request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        await response.aread()
        if not self._is_expired(response):
            return
        async with self._lock:
            # Of those that were in flight together, the first renews the token for all.
            if self._token == used:
                renewed = yield self._request(self._refresh_token)
                self._take(renewed, await renewed.aread())
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def _take(self, response: httpx.Response, content: bytes) -> None:
        if response.status_code == 429 or response.status_code >= 500:
            # What was to be sent with the token has surely not been.
            raise httpx.ConnectError(f"no access token: {response.status_code} {response.reason_phrase}")
        try:
            given: Any = orjson.loads(content)
            token = str(given["access_token"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Refused(
                f"{response.request.url.host} gave no access token: {response.status_code} {_why(content)}. "
                "Check the client's id and secret, and the refresh token."
            ) from None
        self._token = token
        self._secrets.add(token)
        rotated = given.get("refresh_token")
        if rotated and rotated != self._refresh_token:
            self._refresh_token = str(rotated)
            self._secrets.add(self._refresh_token)
            if self._file is not None:
                _keep(self._file, self._refresh_token)


def _why(content: bytes) -> str:
    """The standard's two keys of an error, and nothing else of the answer: it may quote what it was sent."""
    try:
        given: Any = orjson.loads(content)
        return ", ".join(str(given[key]) for key in ("error", "error_description") if given.get(key))
    except (orjson.JSONDecodeError, AttributeError):
        return "without JSON"


def _kept(file: Path | None) -> str | None:
    if file is None or not file.exists():
        return None
    return file.read_text(encoding="utf-8").strip() or None


def _keep(file: Path, token: str) -> None:
    """Replace the file in one step, readable by its owner alone."""
    # Containers that share a folder may have one number for their processes.
    passing = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    passing.touch(mode=0o600)
    passing.write_text(token + "\n", encoding="utf-8")
    passing.replace(file)
