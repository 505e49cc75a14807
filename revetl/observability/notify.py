"""Send messages with apprise: Slack, mail, any webhook. One thread per address; waits are bounded."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from revetl.config.models import AlertKind
from revetl.errors import UsageError

if TYPE_CHECKING:
    from apprise import NotifyBase

_SOCKET_SECONDS = 4.0
_STUCK_SECONDS = 5.0
_SHORTEST_SECRET = 6
_TYPE_OF = {
    "failed": "failure",
    "guard": "warning",
    "rejection_rate": "warning",
    "data": "warning",
    "recovered": "success",
}


@dataclass(frozen=True)
class Message:
    """A message with a title and a plain-text body."""

    kind: AlertKind | Literal["data"]
    title: str
    body: str


def require_apprise(place: str) -> None:
    """Raise UsageError with the install command if apprise isn't installed."""
    if find_spec("apprise") is None:
        raise UsageError(f"{place}: alerts require apprise. Run: pip install 'revetl[alerts]'")


def open_outbox(address: str, place: str) -> Outbox:
    """Open an outbox for an apprise URL. A plain http(s) URL is a JSON webhook, unless apprise recognizes it
    as a service's (for example Slack's). Raises UsageError for other addresses, and if apprise isn't
    installed."""
    require_apprise(place)
    import apprise

    with _unheard():
        service = apprise.Apprise.instantiate(address) or _webhook(address)
    if service is None:
        scheme = re.match(r"[A-Za-z0-9+.-]{1,20}://", address)
        shown = f"this {scheme[0]} address" if scheme else "this address"
        raise UsageError(
            f"{place}: apprise does not support {shown}. Use one of its URLs, for example "
            "slack://TOKEN_A/TOKEN_B/TOKEN_C, or the https:// URL of a webhook."
        )
    service.socket_connect_timeout = min(service.socket_connect_timeout, _SOCKET_SECONDS)
    service.socket_read_timeout = min(service.socket_read_timeout, _SOCKET_SECONDS)
    return Outbox(service, place, secrets_of(address))


def _webhook(address: str) -> NotifyBase | None:
    """Open a plain URL as apprise's JSON webhook, with its path and query unchanged."""
    import apprise

    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return apprise.Apprise.instantiate(
        {
            "schema": "jsons" if parts.scheme == "https" else "json",
            "host": f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
            "port": port,
            "user": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "fullpath": (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        }
    )


def secrets_of(address: str) -> tuple[str, ...]:
    """Return the parts of an address that may be secret: all except the scheme and an http(s) URL's host."""
    scheme, _, rest = address.partition("://")
    host = urlsplit(address).hostname if scheme in {"http", "https"} else None
    parts = {part for word in re.split(r"[/:@?&=#]", rest) for part in (word, unquote(word))}
    return tuple(sorted(part for part in parts if len(part) >= _SHORTEST_SECRET and part != host))


class Outbox:
    """Sends messages to one address, in order, on a daemon thread that starts with the first message."""

    def __init__(self, service: NotifyBase, place: str, secrets: tuple[str, ...]) -> None:
        self._service = service
        self._place = place
        self._secrets = secrets
        self._queue: SimpleQueue[Message | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._moved_at = 0.0
        self._problem = ""

    def put(self, message: Message) -> None:
        """Queue a message."""
        with self._lock:
            if not self._waiting:
                self._moved_at = time.monotonic()
            self._waiting += 1
        self._queue.put(message)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="revetl-alerts", daemon=True)
            self._thread.start()

    def close(self, deadline: float) -> str | None:
        """Wait until all messages are sent, there is no progress for five seconds, or `deadline` (of the
        monotonic clock) passes. Returns an error if messages weren't sent."""
        if self._thread is None:
            return None
        self._queue.put(None)
        while self._thread.is_alive():
            left = min(deadline, self._moved_at + _STUCK_SECONDS) - time.monotonic()
            if left <= 0:
                break
            self._thread.join(left)
        with self._lock:
            if not self._waiting:
                return None
            count = f"{self._waiting} alerts were" if self._waiting > 1 else "1 alert was"
            reason = self._problem or "no response in time"
        return f"{self._place}: {count} not sent to {self._service.service_name}: {reason}."

    @property
    def unsent(self) -> int:
        """How many messages, the last ones queued, weren't sent. Only valid after `close`."""
        with self._lock:
            return self._waiting

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            # After a failure, don't wait for every other message too.
            if self._problem:
                continue
            problem = self._send(message)
            with self._lock:
                self._problem = problem
                self._waiting -= not problem
                self._moved_at = time.monotonic()

    def _send(self, message: Message) -> str:
        """Send a message. Returns the reason if it wasn't sent, else an empty text."""
        import apprise

        try:
            if self._service.notify(
                body=message.body,
                title=message.title,
                notify_type=apprise.NotifyType(_TYPE_OF[message.kind]),
                body_format=apprise.NotifyFormat.TEXT,
            ):
                return ""
            reason = _reasons.pop(threading.get_ident(), "it was not accepted")
        except Exception as error:
            # No failure in an apprise plugin may fail a run.
            reason = f"{type(error).__name__}: {error}"
        for secret in sorted(self._secrets, key=len, reverse=True):
            reason = reason.replace(secret, "***")
        return " ".join(reason.split()).rstrip(".")


_reasons: dict[int, str] = {}


class _Reasons(logging.Handler):
    """Keeps apprise's last warning per thread, because `notify` only returns false."""

    def emit(self, record: logging.LogRecord) -> None:
        _reasons[record.thread or 0] = record.getMessage()


_logger = logging.getLogger("apprise")
_logger.addHandler(_Reasons(logging.WARNING))


@contextmanager
def _unheard() -> Iterator[None]:
    """Silence apprise, which logs an error for every address that it doesn't recognize."""
    before, _logger.disabled = _logger.disabled, True
    try:
        yield
    finally:
        _logger.disabled = before
