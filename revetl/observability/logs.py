"""Structured logs of a run on stderr, by Python's logging, with secrets taken out.

The engine says `event("planned", sync=…, run_id=…, **fields)`. Without `configure` nothing is written, and
a program that embeds revetl gets the records at its own handlers, under the logger `revetl`.
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
    """Log what happened to a run: `sync`, `run_id`, and the counts that belong to it. How grave a
    `run_finished` is follows from its `status`."""
    level = _LEVEL_OF.get(name, logging.INFO)
    if name == "run_finished":
        level = _LEVEL_OF_STATUS.get(fields.get("status"), level)
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", name, extra={"event": name, "fields": fields})


def hide(*secrets: str) -> None:
    """Take these texts out of every record from here on, in every encoding."""
    _secrets.update(secret for secret in secrets if len(secret) >= redaction.SHORTEST_SECRET)


def configure(format: Format = "text", level: Level | None = None, stream: IO[str] | None = None) -> None:
    """Write logs to `stream` (stderr) from `level` on. Without a level, JSON is written from `info` on and
    text not at all: the command prints its own lines. Other libraries' warnings go the same way. May be
    called again."""
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
    """Takes secrets out of a record before anything formats it: known ones wherever they stand, fields
    whose name says so, and the user part of a URL."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        if isinstance(fields := getattr(record, "fields", None), Mapping):
            record.fields = _clean(fields)
        return True


def redact(text: str) -> str:
    """The text without the secrets that `hide` was told of, and without users in URLs."""
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
    """One JSON object a line: `time`, `level`, `event`, then the fields. What is no event of a run has
    `event` log, `logger` and `message`."""

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
    """`time LEVEL event key=value …`, one line a record; a value with spaces or controls is quoted."""

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
# The records that handlers of an embedding program get are clean too.
_logger.addFilter(Redaction())
