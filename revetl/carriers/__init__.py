"""What carries requests, by the scheme of a destination's address: HTTP, files, or tables of a warehouse."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from revetl.destinations.base import Destination


def carrier_of(destination: Destination, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    """The carrier of a destination's requests. Raises UsageError for an address of an unknown scheme, and for
    a package that has to be installed for it."""
    scheme = urlsplit(destination.base_url).scheme.lower()
    if scheme in ("", "http", "https"):
        from httpx_aiohttp import AiohttpTransport

        made: httpx.AsyncBaseTransport = AiohttpTransport(limits=limits, verify=destination.tls() or True)
        return made
    if scheme == "sql":
        from revetl.carriers.tables import Tables

        return Tables(destination.connection_options())
    from revetl.carriers.files import Files

    return Files(scheme, destination.connection_options())


def place_of(url: httpx.URL) -> str:
    """What people call the place that a request goes to: the host of the web, else the whole address."""
    return url.host if url.scheme in ("http", "https") else str(url)


def answer(status: int, text: str | bytes = b"") -> httpx.Response:
    """What a carrier says of a request."""
    return httpx.Response(status, content=text)
