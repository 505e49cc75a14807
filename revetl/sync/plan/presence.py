"""What a destination has of a person, by the mode in which it was sent.

A state row says `presence`: `member` (in the audience), `profile` (there with the fields, in no audience),
`created` (there, perhaps with other fields), `event` (the event was sent), `entered` (the entry was sent as
an event), `erased`. A mode counts as held only what it would have sent itself, so a sync whose mode changed
is planned by what the destination has under the new one.
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
    """What a mode writes into state rows (`written`), and which rows it counts as held. With
    `forgets_members`, a change in this mode would overwrite or drop the row of someone who stays in the
    audience there. With `at_most_once`, what was sent without an answer is not sent again by itself."""

    written: str
    held: tuple[str, ...]
    forgets_members: bool = False
    upsert_joins: bool = False
    at_most_once: bool = False

    @classmethod
    def of(cls, mode: str, destination: Destination) -> Presence:
        """That of a mode at a destination."""
        written = _WRITTEN[mode]
        if mode in ("upsert", "archive") and destination.upsert_joins:
            written = MEMBER
        forgets = mode in ("events", "audience_events") or (mode == "archive" and written != MEMBER)
        once = destination.sends_at_most_once(mode)
        return cls(written, _HELD[mode], forgets, destination.upsert_joins, once)


def written_by_mode(mode: str, now: Presence, mode_now: str) -> str:
    """What rows that say nothing were written as, in `mode`: those of versions that kept no presence."""
    if mode == mode_now:
        return now.written
    return MEMBER if mode in ("upsert", "archive") and now.upsert_joins else _WRITTEN.get(mode, MEMBER)
