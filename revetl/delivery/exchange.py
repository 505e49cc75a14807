"""Requests and their answers, as `--only` shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """What a destination answered to one request, without its secrets."""

    method: str
    url: str
    status: int
    body: str
