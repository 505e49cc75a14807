"""Requests signed by OAuth 1.0a, with tokens that do not end."""

from __future__ import annotations

from collections.abc import Generator

import httpx


class OAuth1(httpx.Auth):
    """Signs each attempt of a request anew, by HMAC-SHA1, in its `Authorization` (RFC 5849). The query is
    signed, and the body is not: it is no form."""

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
        """Its tokens, to be kept out of whatever is shown."""
        return frozenset({self._client.token, self._client.token_secret} - {None, ""})

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        # authlib's own class for httpx is deprecated, and drops a body that is JSON.
        _, signed, _ = self._client.sign(request.method, str(request.url), {}, b"")
        request.headers["Authorization"] = signed["Authorization"]
        yield request
