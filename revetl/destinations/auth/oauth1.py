"""Requests signed with OAuth 1.0a, using tokens that don't expire."""

from __future__ import annotations

from collections.abc import Generator

import httpx


class OAuth1(httpx.Auth):
    """Signs every attempt of a request with HMAC-SHA1 in its `Authorization` header (RFC 5849). The signature
    covers the query, but not the body, since the body isn't form-encoded."""

    def __init__(
        self, consumer_key: str, consumer_secret: str, access_token: str, access_token_secret: str
    ) -> None:
        from authlib.oauth1 import ClientAuth

        self._client = ClientAuth(
            consumer_key,
            client_secret=consumer_secret,
            token=access_token,
            token_secret=access_token_secret,
        )

    @property
    def secrets(self) -> frozenset[str]:
        """Return its tokens, for redaction."""
        return frozenset({self._client.token, self._client.token_secret} - {None, ""})

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        # authlib's own class for httpx is deprecated, and drops JSON bodies.
        _, signed, _ = self._client.sign(request.method, str(request.url), {}, b"")
        request.headers["Authorization"] = signed["Authorization"]
        yield request
