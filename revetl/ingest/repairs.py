"""Repair invalid JSON that SDKs send, so that the rest of the message can be loaded.

Python's `json` writes NaN and infinities, which PostgreSQL, Snowflake and BigQuery reject: they become null.
A text truncated inside a surrogate pair ends in a lone surrogate: it becomes U+FFFD. Only lines and documents
that may contain one of these pass through Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import duckdb
import pyarrow as pa

from revetl.ingest import rules

Texts: TypeAlias = "pa.Array[pa.StringScalar]"

REPAIRED = "revetl_repaired"
"""The name of the SQL function that is available inside `repairing`."""

# An unterminated string is one token too, so that no text takes time in its square.
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"?|[-+]?(?:nan|inf(?:inity)?)\b|-?\d+(?:\.\d+)?(?:e[-+]?\d+)?',
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


def repaired(text: str) -> str:
    """Replace numbers that a double can't represent with null, and lone surrogates with U+FFFD, in a JSON
    text."""
    return _TOKEN.sub(lambda token: _token(token[0]), text)


def _token(token: str) -> str:
    if token.startswith('"'):
        if "\\u" not in token:
            return token
        return _ESCAPE.sub(lambda escape: "\\ufffd" if escape["half"] else escape[0], token)
    return token if math.isfinite(float(token)) else "null"


@contextmanager
def repairing(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Register the SQL function REPAIRED on the connection."""

    def work(texts: Texts) -> Texts:
        return pa.array([None if text is None else repaired(text) for text in texts.to_pylist()], pa.string())

    connection.create_function(  # type: ignore[call-overload]
        REPAIRED, work, ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special"
    )
    try:
        yield
    finally:
        connection.remove_function(REPAIRED)


def has_half_pairs(text: str) -> str:
    """Return SQL for whether a text may contain an escaped surrogate."""
    return f"contains(lower({text}), '\\ud')"


def repair_documents(connection: duckdb.DuckDBPyConnection) -> None:
    """Repair the numbers in the documents of `parsed_messages`."""
    suspicious = {
        name: f'regexp_matches(cast("{name}" as varchar), '
        "'(?i)[:,\\[]\\s*[-+]?(nan|inf|[0-9.]+e[+]?[0-9]{3})')"
        for name in rules.OBJECT_FIELDS
    }
    query = f"select 1 from parsed_messages where {' or '.join(suspicious.values())} limit 1"
    if not connection.execute(query).fetchall():
        return
    with repairing(connection):
        for name, test in suspicious.items():
            connection.execute(
                f'update parsed_messages set "{name}" = cast({REPAIRED}(cast("{name}" as varchar)) as json) '
                f"where {test}"
            )
