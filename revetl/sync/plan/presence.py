"""What a destination has of a person, depending on the mode in which it was sent.

State rows have a `presence`: `member` (in the audience), `profile` (a profile with the fields, in no
audience), `created` (exists, perhaps with other fields), `event` (the event was sent), `entered` (the
audience entry was sent as an event), or `erased`. A mode only counts rows that it could have sent itself, so
a sync whose mode changed is planned from what the destination has under the new mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from revetl.destinations.base.destination import Destination

MEMBER, PROFILE, CREATED, EVENT, ENTERED, ERASED = (
    "member",
    "profile",
    "created",
    "event",
    "entered",
    "erased",
)
_WRITTEN = {
    "mirror": MEMBER,
    "archive": PROFILE,
    "upsert": PROFILE,
    "update": PROFILE,
    "insert": CREATED,
    "events": EVENT,
    "audience_events": ENTERED,
    "delete": ERASED,
}
_HELD = {
    "mirror": (MEMBER,),
    "archive": (MEMBER, PROFILE),
    "upsert": (MEMBER, PROFILE),
    "update": (MEMBER, PROFILE),
    "insert": (MEMBER, PROFILE, CREATED),
    "events": (EVENT,),
    "audience_events": (ENTERED,),
    "delete": (ERASED,),
}


@dataclass(frozen=True)
class Presence:
    """The presence that a mode writes to state rows (`written`), and the ones it counts as in destination
    state (`held`).

    With `forgets_members`, a change in this mode would overwrite or drop the row of someone who stays in the
    audience at the destination. With `at_most_once`, records without a response are not sent again
    automatically.
    """

    written: str
    held: tuple[str, ...]
    forgets_members: bool = False
    upsert_joins: bool = False
    at_most_once: bool = False

    @classmethod
    def of(cls, mode: str, destination: Destination) -> Presence:
        """Return the presence of a mode at a destination."""
        written = _WRITTEN[mode]
        if mode in ("upsert", "archive") and destination.upsert_joins:
            written = MEMBER
        forgets = mode in ("events", "audience_events") or (mode == "archive" and written != MEMBER)
        once = destination.sends_at_most_once(mode)
        return cls(written, _HELD[mode], forgets, destination.upsert_joins, once)


def written_by_mode(mode: str, now: Presence, mode_now: str) -> str:
    """Return the presence of rows written in `mode` by versions that did not record it."""
    if mode == mode_now:
        return now.written
    return MEMBER if mode in ("upsert", "archive") and now.upsert_joins else _WRITTEN.get(mode, MEMBER)
