"""Requests and responses, as `--only` shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """The destination's response to one request, without secrets."""

    method: str
    url: str
    status: int
    body: str
