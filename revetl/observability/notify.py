"""Messages to people, by apprise: Slack, mail, any webhook. A thread an address; nobody waits for long."""

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
    """One message: a title, and a body of plain lines."""

    kind: AlertKind | Literal["data"]
    title: str
    body: str


def require_apprise(place: str) -> None:
    """Raises UsageError with the command that installs it when apprise is not there."""
    if find_spec("apprise") is None:
        raise UsageError(f"{place}: alerts need apprise. Run: pip install 'revetl[alerts]'")


def open_outbox(address: str, place: str) -> Outbox:
    """The outbox of an apprise URL; a plain http(s) URL is a JSON webhook, unless apprise knows it for a
    tool's own (Slack's, say). Raises UsageError when it is neither, or apprise is not installed."""
    require_apprise(place)
    import apprise

    with _unheard():
        service = apprise.Apprise.instantiate(address) or _webhook(address)
    if service is None:
        scheme = re.match(r"[A-Za-z0-9+.-]{1,20}://", address)
        shown = f"this {scheme[0]} address" if scheme else "what is written there"
        raise UsageError(
            f"{place}: apprise does not understand {shown}. Write one of its URLs, such as "
            "slack://TOKEN_A/TOKEN_B/TOKEN_C, or the https:// URL of a webhook."
        )
    service.socket_connect_timeout = min(service.socket_connect_timeout, _SOCKET_SECONDS)
    service.socket_read_timeout = min(service.socket_read_timeout, _SOCKET_SECONDS)
    return Outbox(service, place, secrets_of(address))


def _webhook(address: str) -> NotifyBase | None:
    """A plain URL as apprise's JSON webhook, its path and query as they were written."""
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
    """The parts of an address that may be secret: all but the scheme, and the host of an http(s) URL."""
    scheme, _, rest = address.partition("://")
    host = urlsplit(address).hostname if scheme in {"http", "https"} else None
    parts = {part for word in re.split(r"[/:@?&=#]", rest) for part in (word, unquote(word))}
    return tuple(sorted(part for part in parts if len(part) >= _SHORTEST_SECRET and part != host))


class Outbox:
    """Messages for one address, sent in order by a daemon thread, which starts with the first."""

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
        """Send a message soon."""
        with self._lock:
            if not self._waiting:
                self._moved_at = time.monotonic()
            self._waiting += 1
        self._queue.put(message)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="revetl-alerts", daemon=True)
            self._thread.start()

    def close(self, deadline: float) -> str | None:
        """Wait until everything is sent, nothing has moved for five seconds, or it is `deadline` (on the
        monotonic clock). Gives a sentence when a message was not sent."""
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
            count = f"{self._waiting} alerts were" if self._waiting > 1 else "an alert was"
            reason = self._problem or "no answer in time"
        return f"{self._place}: {count} not sent to {self._service.service_name}: {reason}."

    @property
    def unsent(self) -> int:
        """How many messages were not sent, the last ones that were put; once it is closed."""
        with self._lock:
            return self._waiting

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            # After a failure the others would only wait as long again.
            if self._problem:
                continue
            problem = self._send(message)
            with self._lock:
                self._problem = problem
                self._waiting -= not problem
                self._moved_at = time.monotonic()

    def _send(self, message: Message) -> str:
        """Empty when it was sent, or why it was not."""
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
            # Whatever a plugin of apprise trips over is no reason for a run to fail.
            reason = f"{type(error).__name__}: {error}"
        for secret in sorted(self._secrets, key=len, reverse=True):
            reason = reason.replace(secret, "***")
        return " ".join(reason.split()).rstrip(".")


_reasons: dict[int, str] = {}


class _Reasons(logging.Handler):
    """Keeps what apprise warned of last in each thread: `notify` itself says no more than no."""

    def emit(self, record: logging.LogRecord) -> None:
        _reasons[record.thread or 0] = record.getMessage()


_logger = logging.getLogger("apprise")
_logger.addHandler(_Reasons(logging.WARNING))


@contextmanager
def _unheard() -> Iterator[None]:
    """Keeps apprise's logs back: it calls every address an error that is not its own."""
    before, _logger.disabled = _logger.disabled, True
    try:
        yield
    finally:
        _logger.disabled = before
