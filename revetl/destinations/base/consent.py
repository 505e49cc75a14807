"""Whether somebody wants to be written to: a sync may tell that they do not, and never that they do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def towards_less(fields: Mapping[str, Any], less: Mapping[str, Collection[Any]]) -> dict[str, Any]:
    """The fields without what would subscribe somebody: of those in `less`, only the values that it has."""
    return {name: value for name, value in fields.items() if name not in less or value in less[name]}
