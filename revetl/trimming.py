"""The characters around a value that nobody sees: `trimmable_characters` is the same list in SQL."""

from __future__ import annotations

TRIMMABLE_CHARACTERS = "".join(
    map(
        chr,
        [
            *range(1, 33),  # C0 control characters (tab and line ends among them), and the space
            0x85,
            0xA0,
            0x1680,
            *range(0x2000, 0x2010),  # spaces, and characters of no width
            0x2028,
            0x2029,
            0x202F,
            0x205F,
            0x2060,
            0x3000,
            0xFEFF,
        ],
    )
)


def trimmed(text: str) -> str:
    """The text without them at its ends."""
    return text.strip(TRIMMABLE_CHARACTERS)
