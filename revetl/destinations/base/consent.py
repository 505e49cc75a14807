"""Marketing consent: a sync may unsubscribe people, but never subscribe them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def towards_less(fields: Mapping[str, Any], less: Mapping[str, Collection[Any]]) -> dict[str, Any]:
    """Return the fields without values that would subscribe somebody: fields in `less` keep only the values
    listed there."""
    return {name: value for name, value in fields.items() if name not in less or value in less[name]}
