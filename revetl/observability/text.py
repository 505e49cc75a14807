"""Helpers for the text of messages."""

from __future__ import annotations


def counted(count: int, word: str) -> str:
    """Format a number with its noun, with a regular plural: `1 row`, `2,000 rows`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
