"""Words of what is told to people."""

from __future__ import annotations


def counted(count: int, word: str) -> str:
    """A number with its noun, whose plural ends in s: `1 row`, `2,000 rows`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
