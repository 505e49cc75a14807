"""The success responses of a connector: expected response shapes, by call.

A shape is data: `EMPTY` (no body), `ACKNOWLEDGED` (a text like `OK`), `FILE` (text that isn't a web page), or
a JSON value: a type, an exact value, `[shape]` for a list, `{"key": shape, "key?": shape}` for an object, and
a tuple for alternatives. An object that reports a failure (`error`, `success: false`) under a key that the
shape doesn't name never counts as success. Neither does an HTML page, which comes from a proxy or a sign-in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

import httpx
import orjson

UNLIKE = (orjson.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError, ValueError)
"""Exceptions raised when a connector parses a response of an unexpected format."""

Shape = Any

_WORDS = frozenset({"ok", "okay", "success", "successful", "accepted", "done", "1", "true", "thanks"})
_TAG = re.compile(rb"<[!/a-z]", re.IGNORECASE)
_FAILED = frozenset({"error", "fail", "failed", "failure", "unauthorized", "forbidden", "denied"})


class Body(Enum):
    """Bodies that are not JSON."""

    EMPTY = "no body"
    ACKNOWLEDGED = "a word such as `OK`"
    FILE = "a text"


EMPTY, ACKNOWLEDGED, FILE = Body


@dataclass(frozen=True, slots=True)
class SuccessShape:
    """The success responses to a call. `call` is a method and path such as `POST /users/*`, where `*` matches
    anything. `again`: whether the call is safe to repeat, by its nature or through an id in it."""

    call: str
    shape: Shape
    again: bool = True

    def is_of(self, request: httpx.Request) -> bool:
        """Whether a request matches this call."""
        method, _, path = self.call.partition(" ")
        return method in ("*", request.method) and fnmatchcase(request.url.path, "*" + path)


def entry_of(request: httpx.Request, understood: Iterable[SuccessShape]) -> SuccessShape | None:
    """Return the first entry that matches a request."""
    return next((each for each in understood if each.is_of(request)), None)


def is_page(response: httpx.Response) -> bool:
    """Whether a body is a web page or XML. The header alone isn't enough: PHP, Flask and others label
    untyped responses as HTML, and so does Amplitude its `success`."""
    kind = response.headers.get("content-type", "").lower()
    start = response.content[:2_000].lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"<"):
        return True
    return "text/html" in kind and not start.startswith((b"{", b"[")) and _TAG.search(start) is not None


def misread(response: httpx.Response, shape: Shape) -> str | None:
    """Describe what a body is instead of the expected shape; None if it matches."""
    alternatives = shape if isinstance(shape, tuple) else (shape,)
    content = response.content.strip()
    if not content:
        return None if EMPTY in alternatives else "an empty body"
    if is_page(response):
        return "an HTML page"
    if FILE in alternatives:
        return None
    if ACKNOWLEDGED in alternatives and _word(content) in _WORDS:
        return None
    try:
        value: Any = orjson.loads(content)
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return "a body that is not JSON"
    if isinstance(value, dict):
        is_understood = any(_is(value, each) and not _denied(value, each) for each in alternatives)
    else:
        is_understood = _is(value, alternatives)
    return None if is_understood else "JSON of an unexpected shape"


def _word(content: bytes) -> str:
    return content[:32].decode(errors="replace").strip("\"'.!\r\n ").lower()


def _is(value: Any, shape: Shape) -> bool:
    if isinstance(shape, tuple):
        return any(_is(value, each) for each in shape)
    if isinstance(shape, Body):
        return False
    if isinstance(shape, type):
        if shape in (int, float) and isinstance(value, bool):
            return False
        return isinstance(value, shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_is(each, shape[0]) for each in value)
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and _is_object(value, shape)
    if isinstance(shape, str):
        return isinstance(value, str) and value.lower() == shape.lower()
    return type(value) is type(shape) and bool(value == shape)


def _is_object(value: Mapping[str, Any], shape: Mapping[str, Shape]) -> bool:
    for name, of in shape.items():
        is_optional = name.endswith("?")
        if is_optional and value.get(name[:-1]) is None:
            continue
        if name.removesuffix("?") not in value or not _is(value[name.removesuffix("?")], of):
            return False
    return True


def _denied(value: Mapping[str, Any], shape: Shape) -> bool:
    """Whether an object reports a failure under a key that its shape doesn't name."""
    names = {name.removesuffix("?") for name in shape} if isinstance(shape, Mapping) else set()
    value = {name: each for name, each in value.items() if name not in names}
    if any(value.get(name) for name in ("error", "errors", "err", "fault", "exception", "errorCode")):
        return True
    if any(value.get(name, True) is False for name in ("success", "ok", "successful")):
        return True
    return str(value.get("status")).lower() in _FAILED


def described(shape: Shape) -> str:
    """Describe a shape in words, for the reference pages of destinations."""
    if isinstance(shape, tuple):
        return ", or ".join(described(each) for each in shape)
    if isinstance(shape, Body):
        return shape.value
    if isinstance(shape, type):
        names = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "true or false"}
        return names[shape]
    if isinstance(shape, list):
        return f"a list of: {described(shape[0])}" if shape != [dict] else "a list of objects"
    if isinstance(shape, Mapping):
        parts = [
            f"`{name.removesuffix('?')}`{_of(of)}{' (optional)' if name.endswith('?') else ''}"
            for name, of in shape.items()
        ]
        return f"an object with {', '.join(parts)}" if parts else "an object"
    return f"`{orjson.dumps(shape).decode()}`"


def _of(shape: Shape) -> str:
    if isinstance(shape, type) or shape == [dict]:
        return ""
    if isinstance(shape, Mapping | list):
        return f" ({described(shape)})"
    return f": {described(shape)}"


def table_of(understood: Iterable[SuccessShape]) -> str:
    """Render the table of calls for a destination's reference page."""
    rows = [
        f"| `{each.call}` | {described(each.shape)} | {'yes' if each.again else 'no'} |"
        for each in understood
    ]
    return "\n".join(["| call | understood as success | repeated |", "|---|---|---|", *rows])
