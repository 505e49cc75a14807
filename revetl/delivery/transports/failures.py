"""Map failures of a file system to HTTP statuses, which decide the disposition for all destinations."""

from __future__ import annotations

import errno

import httpx

from revetl.delivery.transports import answer

_STATUSES = {
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.EISDIR: 404,
    errno.ENAMETOOLONG: 404,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EFBIG: 507,
}
_CREDENTIALS = ("credential", "authentication", "unauthorized", "expiredtoken")


def refusal(error: Exception, request: httpx.Request) -> httpx.Response:
    """Return the response for an exception. Raises httpx.TransportError for a temporary failure."""
    kind, text = type(error).__name__, f"{type(error).__name__}: {error} ({request.method} {request.url})"
    if isinstance(error, OSError) and error.errno in _STATUSES:
        return answer(_STATUSES[error.errno], text)
    if isinstance(error, PermissionError) or any(word in kind.lower() for word in _CREDENTIALS):
        return answer(403, text)
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return answer(404, text)
    if isinstance(error, TimeoutError) or "timeout" in kind.lower():
        raise httpx.ReadTimeout(text, request=request) from error
    if isinstance(error, ConnectionError) or "connect" in kind.lower():
        raise httpx.ConnectError(text, request=request) from error
    status = getattr(error, "status_code", getattr(error, "code", None))
    if isinstance(status, int) and 400 <= status < 600:
        return answer(status, text)
    if isinstance(error, TypeError | ValueError | ImportError):
        # An unknown or invalid option of the store.
        return answer(403, text)
    raise httpx.ReadError(text, request=request) from error
