"""Members of an audience, as read from a destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from revetl.destinations.base.flow import Asking


class AudienceMember(NamedTuple):
    """One member in a destination: identifiers by the destination's names, and fields; None if it doesn't
    return fields."""

    identifiers: Mapping[str, Any]
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an audience's members. `next` is the cursor of the following page; None after the last."""

    members: tuple[AudienceMember, ...]
    next: str | None = None


Reading = Asking[Page]
