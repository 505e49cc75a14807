"""Secrets that a tool wants in the query of its address."""

from __future__ import annotations

from collections.abc import Generator
from urllib.parse import quote

import httpx


class QuerySecret(httpx.Auth):
    """Adds a parameter to a request's query as it leaves, so that no request that is shown has it."""

    def __init__(self, name: str, secret: str) -> None:
        self._asked = f"{name}={quote(secret, safe='')}".encode()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        query = request.url.query
        # One that is sent again has it.
        if self._asked not in query.split(b"&"):
            request.url = request.url.copy_with(query=query + b"&" * bool(query) + self._asked)
        yield request
