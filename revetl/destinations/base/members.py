"""What a destination gives of the people that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from revetl.destinations.base.flow import Asking


class Member(NamedTuple):
    """One person whom a destination holds: what it knows them by, in the names of its identifiers, and their
    fields; None where it does not give fields back."""

    identifiers: Mapping[str, Any]
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of an audience as a destination holds it. `next` is what the part after it is asked for with;
    None after the last."""

    members: tuple[Member, ...]
    next: str | None = None


Reading = Asking[Page]
