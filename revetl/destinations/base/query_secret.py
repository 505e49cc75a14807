"""Secrets that an API expects in the query string."""

from __future__ import annotations

from collections.abc import Generator
from urllib.parse import quote

import httpx


class QuerySecret(httpx.Auth):
    """Adds a query parameter when the request is sent, so that it never appears in logs."""

    def __init__(self, name: str, secret: str) -> None:
        self._asked = f"{name}={quote(secret, safe='')}".encode()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        query = request.url.query
        # A retried request already has it.
        if self._asked not in query.split(b"&"):
            request.url = request.url.copy_with(query=query + b"&" * bool(query) + self._asked)
        yield request
