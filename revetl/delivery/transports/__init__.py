"""What carries requests, by the scheme of a destination's address: HTTP, files, or tables of a warehouse."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from revetl.destinations.base.destination import Destination


def client_of(destination: Destination, auth: httpx.Auth | None) -> httpx.AsyncClient:
    """A client for a destination's requests, signed by `auth`. Raises UsageError for an address of an unknown
    scheme, for a package that has to be installed for it, and for a proxy that cannot be used."""
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
    """What people call the place that a request goes to: the host of the web, else the whole address."""
    return url.host if url.scheme in ("http", "https") else str(url)


def answer(status: int, text: str | bytes = b"") -> httpx.Response:
    """What a carrier says of a request."""
    return httpx.Response(status, content=text)
