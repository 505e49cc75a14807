"""HTTP Basic credentials as a header (RFC 7617)."""

from __future__ import annotations

from base64 import b64encode


def basic(username: str, password: str = "") -> str:
    """The value of `Authorization`."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
