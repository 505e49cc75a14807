"""Structured, redacted logs of runs on stderr, with Python's logging.

The engine calls `event("planned", sync=…, run_id=…, **fields)`. Without `configure`, nothing is written;
programs that embed revetl receive the records in their own handlers, from the logger `revetl`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal, get_args

import orjson

from revetl.local import redaction

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: tuple[Format, ...] = get_args(Format)
Event = Literal[
    "run_started",
    "planned",
    "guard_stopped",
    "batch",
    "checkpoint",
    "carried_over",
    "privacy_run",
    "retry",
    "waiting",
    "circuit_open",
    "journal_lost",
    "audience_missing",
    "fields_adjusted",
    "run_finished",
]

_LEVEL_OF: Mapping[str, int] = {
    "batch": logging.DEBUG,
    "guard_stopped": logging.WARNING,
    "waiting": logging.WARNING,
    "circuit_open": logging.WARNING,
    "journal_lost": logging.WARNING,
    "audience_missing": logging.WARNING,
    "fields_adjusted": logging.WARNING,
}
_LEVEL_OF_STATUS: Mapping[object, int] = {
    "rejected": logging.WARNING,
    "stopped": logging.WARNING,
    "interrupted": logging.WARNING,
    "lost": logging.WARNING,
    "refused": logging.ERROR,
    "crashed": logging.ERROR,
}
_SECRET_NAME = re.compile(
    r"secret|token|passw|api_?key|access_?key|write_?key|authorization|credential", re.I
)
_BARE = re.compile(r"[\w.:/+-]+")

_secrets: set[str] = set()
_logger = logging.getLogger("revetl")
_handler: logging.Handler | None = None


def event(name: Event, **fields: object) -> None:
    """Log an event of a run, with `sync`, `run_id` and its counts. The level of `run_finished` depends on its
    `status`."""
    level = _LEVEL_OF.get(name, logging.INFO)
    if name == "run_finished":
        level = _LEVEL_OF_STATUS.get(fields.get("status"), level)
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", name, extra={"event": name, "fields": fields})


def hide(*secrets: str) -> None:
    """Redact these secrets in all following records, in every encoding."""
    _secrets.update(secret for secret in secrets if len(secret) >= redaction.SHORTEST_SECRET)


def configure(format: Format = "text", level: Level | None = None, stream: IO[str] | None = None) -> None:
    """Write logs from `level` on to `stream` (default: stderr), including other libraries' warnings. Without
    a level, JSON is written from `info` on and text isn't, because the command prints its own lines. Can be
    called repeatedly."""
    global _handler
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
        _handler = None
    if level is None and format == "text":
        _logger.setLevel(logging.NOTSET)
        return
    _handler = logging.StreamHandler(stream or sys.stderr)
    _handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    _handler.addFilter(Redaction())
    root.addHandler(_handler)
    _logger.setLevel((level or "info").upper())


class Redaction(logging.Filter):
    """Redacts records before they are formatted: known secrets anywhere, fields with sensitive names, and the
    user part of URLs."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        if isinstance(fields := getattr(record, "fields", None), Mapping):
            record.fields = _clean(fields)
        return True


def redact(text: str) -> str:
    """Redact the secrets passed to `hide`, and users in URLs."""
    return redaction.without_users(redaction.redact(text, _secrets))


def _clean(value: object, name: str = "") -> object:
    if name and _SECRET_NAME.search(name):
        return redaction.HIDDEN
    if isinstance(value, Mapping):
        return {redact(str(key)): _clean(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    return redact(str(value))


class JsonFormatter(logging.Formatter):
    """Formats one JSON object per line: `time`, `level`, `event` and the fields. Records that aren't events
    of a run have `event: log`, `logger` and `message`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        if hasattr(record, "event"):
            line |= {"event": record.event, **getattr(record, "fields", {})}
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_text:
            line["exception"] = record.exc_text
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """Formats one line per record: `time LEVEL event key=value …`. Values with spaces or control characters
    are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), record.levelname, _one_line(record.getMessage())]
        fields = getattr(record, "fields", {})
        words += [f"{name}={_word(value)}" for name, value in fields.items() if value is not None]
        line = " ".join(words)
        return f"{line}\n{record.exc_text}" if record.exc_text else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _word(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _one_line(text: str) -> str:
    return " ".join(text.split())


_logger.addHandler(logging.NullHandler())
# Redact records for the handlers of embedding programs too.
_logger.addFilter(Redaction())
