"""Redact secrets in text, in common encodings: plain, JSON, URL, HTML, Base64."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST_SECRET = 4
SENSITIVE = re.compile(
    "auth|key|token|secret|signature|cookie|pass|pwd|credential|connection_string", re.IGNORECASE
)
"""Names of headers, connection options and environment variables whose values are hidden."""
_SHORTEST_BASE64 = 6
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@\"'<>]+(?=@)")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret of at least four characters, in all its encodings. Redact text before truncating
    it: a truncated secret isn't found."""
    known = frozenset(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
    return _pattern(known).sub(HIDDEN, text) if known and text else text


def without_users(text: str) -> str:
    """Remove the user part of URLs in a text."""
    return _USER_IN_URL.sub(HIDDEN, text)


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in encodings(secret)}
    # Longest first, because one may be a prefix of another.
    return re.compile(
        "|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form)))
    )


def encodings(secret: str) -> set[str]:
    """Return the encodings of a secret: plain, trimmed, in JSON (with and without non-ASCII characters, and
    nested in a JSON string), in a URL, in HTML, in Python's `repr`, and in Base64, including as part of a
    longer text such as `user:password`."""
    found: set[str] = set()
    for plain in {secret, secret.strip()}:
        if len(plain) < SHORTEST_SECRET:
            continue
        found |= {plain, repr(plain)[1:-1], html.escape(plain)}
        for is_ascii in (True, False):
            escaped = json.dumps(plain, ensure_ascii=is_ascii)[1:-1]
            found |= {escaped, escaped.replace("/", "\\/"), json.dumps(escaped, ensure_ascii=is_ascii)[1:-1]}
        # The last is yarl's set for queries: aiohttp requotes URLs in its errors.
        for safe in ("", "/", ":/?=&@", "~()*!.'", "/?:@!$'()*,;"):
            for quoted in (quote(plain, safe=safe), quote_plus(plain, safe=safe)):
                found |= {quoted, re.sub(r"%..", lambda match: match[0].lower(), quoted)}
        found |= _in_base64(plain.encode("utf-8", "surrogatepass"))
        lines = [line.strip() for line in plain.splitlines()]
        if len(lines) > 1:
            # Errors may quote single lines of a PEM key.
            found |= {line for line in lines if len(line) >= 16 and not line.startswith("-----")}
    return {form for form in found if len(form) >= SHORTEST_SECRET}


def _in_base64(secret: bytes) -> set[str]:
    """Return the Base64 of a secret at every alignment, without characters that also depend on neighbors."""
    found = set()
    for before in range(3):
        made = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        first = -(-before * 8 // 6)
        last = len(made) if (before + len(secret)) % 3 == 0 else len(made) - 1
        core = made[first:last]
        if len(core) >= _SHORTEST_BASE64:
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found
