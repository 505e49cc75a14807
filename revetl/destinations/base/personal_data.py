"""Destinations that are not sent personal data unless it is allowed by name: ads and analytics."""

from __future__ import annotations

from typing import ClassVar

from revetl.destinations.base.destination import Destination

EVENTS = ("events", "audience_events")


class WithholdsPersonalData(Destination):
    """Properties whose names are of personal data are left out of events, unless `allow_personal_data` names
    them. `named_is_allowed`: what a sync's own `fields` name is allowed, too."""

    named_is_allowed: ClassVar[bool] = True
    withholds_always: ClassVar[bool] = False
    """Whether so are fields of people; tools for one's product hold people's emails as a matter of course."""

    allow_personal_data: tuple[str, ...] = ()

    def withholds(self, mode: str) -> bool:
        """Whether fields are looked through in a sync mode."""
        return self.withholds_always or mode in EVENTS
