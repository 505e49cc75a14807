"""What a failure of a file system is called in the statuses by which all destinations are judged."""

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
    """The response that an exception stands for. Raises httpx.TransportError for what may pass."""
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
        # An option that the store does not know, or one of a wrong form.
        return answer(403, text)
    raise httpx.ReadError(text, request=request) from error
