"""Hash email addresses for destinations that don't use SHA-256."""

from __future__ import annotations

import hashlib
import re

_SHA512 = re.compile("[0-9a-f]{128}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def sha512_of_email(value: str, _: str | None) -> str | None:
    """Return the SHA-512 of an email address, trimmed and in lower case. A SHA-512 is unchanged. None for
    anything else, such as a hash of another kind, which must not be sent."""
    text = value.strip().lower()
    if _SHA512.fullmatch(text):
        return text
    return hashlib.sha512(text.encode()).hexdigest() if _ADDRESS.fullmatch(text) else None
