"""Trim invisible characters around a value. The macro `trimmable_characters` has the same list in SQL."""

from __future__ import annotations

TRIMMABLE_CHARACTERS = "".join(
    map(
        chr,
        [
            *range(0x01, 0x21),  # control characters, including tabs and line ends, and the space
            *range(0x7F, 0xA1),  # more control characters, and the no-break space
            0xAD,
            0x1680,
            0x180E,
            *range(0x2000, 0x2010),  # spaces and zero-width characters
            *range(0x2028, 0x2030),  # line and paragraph separators, and directional marks
            *range(0x205F, 0x2065),
            0x3000,
            0xFEFF,
        ],
    )
)


def trimmed(text: str) -> str:
    """Trim a text."""
    return text.strip(TRIMMABLE_CHARACTERS)
