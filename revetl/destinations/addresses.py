"""The address of a destination as it may be kept and shown."""

from __future__ import annotations

from hashlib import blake2b
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def address_of(url: str, *, hides_path: bool = False) -> dict[str, str]:
    """`host` and `path` of a URL, without user, password and query. A server on this machine gets another
    port each time it starts, so its port says nothing. With `hides_path`, a hash stands for the path."""
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    try:
        port = parts.port
    except ValueError:
        port = None
    host = "localhost" if name in LOOPBACK else f"{name}:{port}" if port else name
    found = {"host": host or parts.scheme}
    path = parts.path.rstrip("/") or "/"
    hashed = f"#{blake2b(path.encode(), digest_size=12).hexdigest()}"
    return {**found, "path": hashed if hides_path else path}
