"""Remove personal data from a destination's error messages, which are stored longer than the person's data.

A message is stored for its error code and field; the row it is stored in identifies the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import orjson

SCRUBBED = "[…]"
_EMAIL = re.compile(
    r"[\w.!#$%&*+/=?^`{|}~-][\w.!#$%&'*+/=?^`{|}~-]{0,63}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+",
    re.ASCII | re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.:-])(?:\+|%2B|00)\d(?:[ ().-]{0,2}\d){6,14}(?![\w-])", re.IGNORECASE)
_HASH = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})\b", re.IGNORECASE)
_SHORTEST = 3
_LONGEST_WORD = 200


def scrub(text: str | None, *records: str | None) -> str | None:
    """Return the text without email addresses, phone numbers and hashes, and without the values of `records`,
    which are JSON texts."""
    if not text:
        return text
    for value in sorted(set(_values(records)), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", SCRUBBED, text, flags=re.IGNORECASE)
    for pattern in (_EMAIL, _PHONE, _HASH):
        text = pattern.sub(SCRUBBED, text)
    return text


def _values(records: Iterable[str | None]) -> Iterator[str]:
    for record in records:
        if record:
            try:
                yield from _texts(orjson.loads(record))
            except orjson.JSONDecodeError:
                continue


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value).strip()
        # Short numbers also occur in error codes.
        shortest = 5 if text.isdigit() else _SHORTEST
        if shortest <= len(text) <= _LONGEST_WORD:
            yield text
