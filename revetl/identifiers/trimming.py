"""The characters around a value that nobody sees: `trimmable_characters` is the same list in SQL."""

from __future__ import annotations

TRIMMABLE_CHARACTERS = "".join(
    map(
        chr,
        [
            *range(0x01, 0x21),  # control characters (tab and line ends among them), and the space
            *range(0x7F, 0xA1),  # more of them, and the no-break space
            0xAD,
            0x1680,
            0x180E,
            *range(0x2000, 0x2010),  # spaces, and characters of no width
            *range(0x2028, 0x2030),  # line and paragraph separators, and marks of direction
            *range(0x205F, 0x2065),
            0x3000,
            0xFEFF,
        ],
    )
)


def trimmed(text: str) -> str:
    """The text without them at its ends."""
    return text.strip(TRIMMABLE_CHARACTERS)
