"""Rejects configuration that can't be sent: credentials in URLs, and secrets with invalid header
characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from revetl.destinations.base.destination import Destination
from revetl.errors import UsageError


def check_sendable(destination: Destination, place: str) -> None:
    """Raises UsageError, naming the key but never its value, if a URL contains a user or password, or if a
    header contains characters that HTTP doesn't allow."""
    for key, value in _texts(destination, ""):
        if value.startswith(("http://", "https://")) and _has_user(value):
            raise UsageError(
                f"{place}.{key}: the URL contains a user or password, which would appear in logs and errors. "
                "Remove it and use the destination's credential keys, or its headers if it has "
                "them (Authorization: Basic …)."
            )
    _check_headers(destination, place)


def _check_headers(destination: Destination, place: str) -> None:
    for name, value in destination.headers().items():
        wrong = next((sign for sign in value if sign not in "\t" and not " " <= sign <= "~"), None)
        if wrong is None:
            continue
        key = next((key for key, text in _secrets(destination, "") if wrong in text and text in value), None)
        key = key or next((key for key, text in _texts(destination, "") if wrong in text), f"header {name}")
        what = f"U+{ord(wrong):04X}, which HTTP headers do not allow"
        raise UsageError(
            f"{place}.{key}: contains the character {what}. Copy the credential again: it may have been "
            "truncated, joined with another line, or changed by an editor."
        )


def _has_user(address: str) -> bool:
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return False


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a configuration, including secrets, with their dotted keys."""
    if isinstance(value, SecretStr):
        yield key, value.get_secret_value()
    elif isinstance(value, str):
        yield key, value
    elif isinstance(value, BaseModel):
        for name in value.__class__.model_fields:
            yield from _texts(getattr(value, name), f"{key}.{name}".strip("."))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}".strip("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{index}".strip("."))


def _secrets(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Yield only the texts declared as secrets, like `_texts`."""
    if isinstance(value, SecretStr):
        yield key, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in value.__class__.model_fields:
            yield from _secrets(getattr(value, name), f"{key}.{name}".strip("."))
