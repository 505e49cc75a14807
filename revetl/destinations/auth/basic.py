"""HTTP Basic credentials as a header (RFC 7617)."""

from __future__ import annotations

from base64 import b64encode


def basic(username: str, password: str = "") -> str:
    """Return the value of the `Authorization` header."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
