"""Responses that may not fit in memory: results of bulk jobs, reports, exported files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

import httpx

BODY = "body"
"""The response extension for a body stored on disk: a binary file."""
_LARGE = "large"


def large(request: httpx.Request) -> httpx.Request:
    """Mark a request so that a large response is stored on disk; read it with `lines_of`."""
    request.extensions = {**request.extensions, _LARGE: True}
    return request


def is_large(request: httpx.Request) -> bool:
    """Whether a large response to this request is stored on disk."""
    return bool(request.extensions.get(_LARGE))


def lines_of(response: httpx.Response) -> Iterator[str]:
    """Yield the lines of a UTF-8 response with their line ends, as `csv` needs them; lazily if it is on disk.
    Can be read once."""
    file: IO[bytes] = response.extensions.get(BODY) or io.BytesIO(response.content)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="") as text:
        yield from text
