"""Transports, by the scheme of a destination's address: HTTP, files, or tables of a warehouse."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from revetl.destinations.base.destination import Destination


def client_of(destination: Destination, auth: httpx.Auth | None) -> httpx.AsyncClient:
    """Return a client for a destination's requests, signed by `auth`. Raises UsageError for an unknown
    scheme, for a package that must be installed for it, and for an invalid proxy."""
    most = destination.max_in_flight
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    scheme = urlsplit(destination.base_url).scheme.lower()
    if scheme in ("", "http", "https"):
        from revetl.delivery.transports.http import HttpClient

        return HttpClient(destination, limits, auth)
    if scheme == "sql":
        from revetl.delivery.transports.tables import TableTransport

        carrier: httpx.AsyncBaseTransport = TableTransport(destination.connection_options())
    else:
        from revetl.delivery.transports.files import FileTransport

        carrier = FileTransport(scheme, destination.connection_options())
    return httpx.AsyncClient(transport=carrier, timeout=destination.timeout, auth=auth)


def place_of(url: httpx.URL) -> str:
    """Return the display name of an address: the host for HTTP, otherwise the full address."""
    return url.host if url.scheme in ("http", "https") else str(url)


def answer(status: int, text: str | bytes = b"") -> httpx.Response:
    """Build the response of a transport that is not HTTP."""
    return httpx.Response(status, content=text)
