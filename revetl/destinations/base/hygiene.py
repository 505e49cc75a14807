"""Configuration that no request can carry: credentials in an address, and secrets that no header can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from revetl.destinations.base.destination import Destination
from revetl.errors import UsageError


def check_sendable(destination: Destination, place: str) -> None:
    """Raises UsageError, naming the key and never its value, for a web address with a user or a password in
    it, and for a header that HTTP cannot carry."""
    for key, value in _texts(destination, ""):
        if value.startswith(("http://", "https://")) and _has_user(value):
            raise UsageError(
                f"{place}.{key}: a user or a password is in the address, which logs and errors would show. "
                "Leave it out and use the destination's keys for credentials, or its headers where it has "
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
        what = f"U+{ord(wrong):04X}, which no HTTP header can carry"
        raise UsageError(
            f"{place}.{key}: contains the character {what}. Copy the credential again: it may have been cut, "
            "joined with another line, or changed by an editor."
        )


def _has_user(address: str) -> bool:
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return False


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    """The texts of a configuration by their dotted keys, secrets too."""
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
    """As `_texts`, of what is declared a secret."""
    if isinstance(value, SecretStr):
        yield key, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in value.__class__.model_fields:
            yield from _secrets(getattr(value, name), f"{key}.{name}".strip("."))
