"""Destination addresses that are safe to store and show: the host, and the parts of the path and query that
are literal in revetl.yml or defined by the connector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_plus, urlsplit

import httpx

from revetl.config.jinja import RenderedValue
from revetl.local.redaction import HIDDEN, SHORTEST_SECRET, without_users

_SHORTEST_PART = 8
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def secret_parts(filled_in: Iterable[RenderedValue]) -> Iterator[str]:
    """Yield the secret parts of values from outside revetl.yml: secrets themselves, and the user, path and
    query of URLs, which contain the token of many webhooks."""
    for each in filled_in:
        if each.is_secret and "://" not in each.value:
            yield each.value
        elif "://" in each.value:
            url = _split(each.value)
            yield from (part for part in (url.password, url.username) if part)
            parts = (url.path.strip("/"), *url.path.split("/"), *(value for _, value in parse_qsl(url.query)))
            yield from (part for part in parts if len(part) >= _SHORTEST_PART)


def carried_parts(filled_in: Iterable[RenderedValue], address: str, headers: Iterable[str]) -> Iterator[str]:
    """Yield values from outside revetl.yml that end up in a header, path or query. They are treated as
    credentials, regardless of the name of their variable."""
    url = _split(address)
    places = (unquote(url.path), url.path, unquote_plus(url.query), url.query, *headers)
    for each in filled_in:
        if len(each.value) >= _SHORTEST_PART and any(each.value in place for place in places):
            yield each.value


def shown_address(url: httpx.URL, filled_in: Iterable[RenderedValue]) -> str:
    """Return a URL as shown in a plan: path and query parts from outside revetl.yml are masked."""
    filled_in = tuple(filled_in)
    if url.scheme == "file" or not filled_in:
        return without_users(str(url))
    path, _, query = url.raw_path.decode("ascii", "replace").partition("?")
    segments, parts = path.split("/"), [part.partition("=") for part in query.split("&") if part]
    for each in filled_in:
        if "://" in each.value:
            given = _split(each.value)
            own = [unquote(part) for part in given.path.split("/") if part]
            if own and [unquote(part) for part in segments[1 : len(own) + 1]] == own:
                segments[1 : len(own) + 1] = [HIDDEN] * len(own)
            theirs = {value for _, value in parse_qsl(given.query)}
            parts = [
                (name, sign, HIDDEN if unquote_plus(value) in theirs else value)
                for name, sign, value in parts
            ]
        else:
            segments = [HIDDEN if _has(unquote(part), each.value) else part for part in segments]
            parts = [
                (name, sign, HIDDEN if _has(unquote_plus(value), each.value) else value)
                for name, sign, value in parts
            ]
    start = str(url.copy_with(raw_path=b"/")).rstrip("/")
    shown = start + "/".join(segments) + ("?" + "&".join(map("".join, parts)) if parts else "")
    return without_users(shown)


def _has(text: str, value: str) -> bool:
    return bool(text) and (text == value or (len(value) >= SHORTEST_SECRET and value in text))


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def address_of(url: str, *, hides_path: bool = False) -> dict[str, str]:
    """Return `host` and `path` of a URL, without user, password and query. The port of a server on this
    machine is dropped, since it changes with every start. With `hides_path`, the path is hashed."""
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
