"""Answers that may be larger than what is held in memory: results of bulk jobs, reports, exported files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

import httpx

BODY = "body"
"""The extension of a response that is on disk: its content, as a file of bytes."""
_LARGE = "large"


def large(request: httpx.Request) -> httpx.Request:
    """The request, of which a large answer is kept on disk; `lines_of` reads it."""
    request.extensions = {**request.extensions, _LARGE: True}
    return request


def is_large(request: httpx.Request) -> bool:
    """Whether a large answer to it is kept on disk."""
    return bool(request.extensions.get(_LARGE))


def lines_of(response: httpx.Response) -> Iterator[str]:
    """The lines of a response's text in UTF-8, with their ends, as `csv` reads them; one at a time, where it
    is on disk. To be read once."""
    file: IO[bytes] = response.extensions.get(BODY) or io.BytesIO(response.content)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="") as text:
        yield from text
