"""Destinations that receive personal data only if explicitly allowed: ads and analytics."""

from __future__ import annotations

from typing import ClassVar

from revetl.destinations.base.destination import Destination

EVENTS = ("events", "audience_events")


class WithholdsPersonalData(Destination):
    """Event properties whose names suggest personal data are dropped unless listed in `allow_personal_data`.
    `named_is_allowed`: fields listed in a sync's `fields` are allowed, too."""

    named_is_allowed: ClassVar[bool] = True
    withholds_always: ClassVar[bool] = False
    """Whether this also applies to fields of people; product tools normally store people's emails."""

    allow_personal_data: tuple[str, ...] = ()

    def withholds(self, mode: str) -> bool:
        """Whether fields are filtered in a sync mode."""
        return self.withholds_always or mode in EVENTS
