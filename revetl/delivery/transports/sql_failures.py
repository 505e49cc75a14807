"""Map errors of a SQL engine to HTTP statuses, which decide the disposition for all destinations."""

from __future__ import annotations

import httpx

from revetl.delivery.transports import answer
from revetl.errors import WarehouseError

_STATES = {
    "28": 403,
    "42501": 403,
    "3D000": 403,
    "42P01": 404,
    "3F000": 404,
    "53100": 507,
    "40": 503,
    "53": 503,
    "55P03": 503,
}
"""By the beginning of an SQLSTATE; others mean that a row is invalid."""

_LOST_STATES = ("08", "57P")
_KINDS = {
    "PermissionException": 403,
    "CatalogException": 404,
    "TransactionException": 503,
    "IOException": 507,
    "OutOfMemoryException": 503,
}
_FORBIDDEN = ("permission", "denied", "not authorized", "privilege", "password", "authenticat", "credential")
_LOST = ("connection", "timed out", "timeout", "broken pipe", "server closed", "unreachable", "reset by peer")
_NOT_THERE = ('role "', 'database "', "no such host")


def refusal(error: WarehouseError, request: httpx.Request) -> httpx.Response:
    """Return the response for a failed statement. Raises httpx.TransportError when the connection is lost."""
    cause, text = error.__cause__, str(error)
    state = str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")
    if state.startswith(_LOST_STATES):
        raise httpx.ReadError(text, request=request) from error
    found = next((status for start, status in _STATES.items() if state.startswith(start)), None)
    found = found or _KINDS.get(type(cause).__name__)
    if found is not None or state:
        return answer(found or 422, text)
    lower = text.lower()
    if any(word in lower for word in _FORBIDDEN):
        return answer(403, text)
    if any(word in lower for word in _LOST):
        raise httpx.ReadError(text, request=request) from error
    return answer(422, text)


def unopened(error: WarehouseError, request: httpx.Request) -> httpx.Response:
    """Return the response for a refused connection, such as wrong credentials. Raises httpx.ConnectError
    for a temporary failure."""
    lower = str(error).lower()
    if any(word in lower for word in (*_FORBIDDEN, *_NOT_THERE)):
        return answer(403, str(error))
    raise httpx.ConnectError(str(error), request=request) from error
