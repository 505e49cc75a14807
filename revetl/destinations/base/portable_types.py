"""The portable column types of table and file destinations, mapped from engine types."""

from __future__ import annotations

import re

BOOLEAN, WHOLE, FLOAT, TEXT = "boolean", "bigint", "double", "text"
DATE, MOMENT, DOCUMENT = "date", "timestamp", "json"

_NESTED = re.compile(r"[\[<]|^(struct|map|array|record|variant|object|super|json|union|list|row)")
_WIDE = {
    "hugeint": "decimal(38,0)",
    "int128": "decimal(38,0)",
    "ubigint": "decimal(20,0)",
    "uint64": "decimal(20,0)",
}
"""Integers too large for a bigint, such as DuckDB's sum of integers."""
_DECIMAL = re.compile(r"^(?:decimal|numeric|number|dec)\((\d+)(?:,\s*(\d+))?\)")
_WORDS = (
    (BOOLEAN, r"^bool|^bit$"),
    (FLOAT, r"^(double|float|real|decimal|numeric|number|bignumeric|dec)"),
    (TEXT, r"^(interval|uhugeint|uint128|time( |$|\()|timetz)"),
    (WHOLE, r"^(u?(big|small|tiny|medium)?int|u?int\d*$|long$|short$|byteint$)"),
    (MOMENT, r"^(timestamp|datetime|smalldatetime)"),
    (DATE, r"^date$"),
)


def portable_type(engine_type: str) -> str:
    """Return the portable type, one of the names above or decimal(digits, scale), of an engine type; text if
    there is no match, since text holds any value. A number without stated digits is a double."""
    lower = engine_type.strip().lower()
    if _NESTED.search(lower):
        return DOCUMENT
    if lower in _WIDE:
        return _WIDE[lower]
    if found := _DECIMAL.match(lower):
        digits, scale = min(int(found[1]), 38), int(found[2] or 0)
        return f"decimal({digits},{scale})"
    return next((name for name, words in _WORDS if re.search(words, lower)), TEXT)
