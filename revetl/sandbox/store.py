"""The in-memory state of mocked destinations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass
class HeldByDestination:
    """The state of one destination: people by id with their data, audiences by name, and the request log.
    Depending on the tool also lists (names and descriptions by id), jobs, and unsubscribed people by list."""

    name: str
    api: str = ""
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    audiences: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    events: list[dict[str, Any]] = field(default_factory=list)
    seen_messages: set[str] = field(default_factory=set)
    seen_events: set[str] = field(default_factory=set)
    lists: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    unsubscribed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    log: list[dict[str, Any]] = field(default_factory=list)

    def put(
        self, audience: str | None, person: str, fields: dict[str, Any], set_if_empty: Collection[str] = ()
    ) -> None:
        """Store a person's fields, except `set_if_empty` fields that have a value, and add them to an
        audience."""
        held = self.profiles.setdefault(person, {})
        kept = [name for name in set_if_empty if held.get(name) not in (None, "")]
        held.update({name: value for name, value in fields.items() if name not in kept})
        if audience is not None:
            self.audiences[audience][person] = None

    def track(self, message_id: str | None, person: str, event: str, properties: dict[str, Any]) -> None:
        """Store an event; events with a known message id are dropped."""
        known = message_id is not None and message_id in self.seen_events
        if not known:
            if message_id is not None:
                self.seen_events.add(message_id)
            self.events.append(
                {"message_id": message_id, "person": person, "event": event, "properties": properties}
            )

    def new_list(self, name: str) -> str:
        """Create a list with that name and return its id."""
        made = str(1_001 + len(self.lists))
        self.lists[made] = name
        self.audiences[name] = {}
        return made

    def new_job(self, **about: Any) -> str:
        """Create a job and return its id."""
        made = f"job-{len(self.jobs) + 1}"
        self.jobs[made] = about
        return made

    def take_out(self, audience: str, person: str) -> None:
        """Remove a person from an audience."""
        self.audiences[audience].pop(person, None)

    def erase(self, person: str) -> None:
        """Delete all data of a person."""
        self.profiles.pop(person, None)
        for people in self.audiences.values():
            people.pop(person, None)

    def merge(self, person: str, fields: dict[str, Any]) -> None:
        """Store a person's attributes: null unsets an attribute; true and false set membership in the
        audience with the attribute's name."""
        held = self.profiles.setdefault(person, {})
        for name, value in fields.items():
            if value is None:
                held.pop(name, None)
            else:
                held[name] = value
            if value is True:
                self.audiences[name][person] = None
            elif value is False or value is None:
                self.audiences.get(name, {}).pop(person, None)

    def as_json(self) -> dict[str, Any]:
        """Return the response of `GET /_/members/<name>`."""
        return {
            "destination": self.name,
            "api": self.api,
            "simulated": True,
            "audiences": {
                audience: {
                    "count": len(people),
                    "members": {person: self.profiles.get(person, {}) for person in people},
                }
                for audience, people in sorted(self.audiences.items())
            },
            "profiles": self.profiles,
            "events": self.events,
        }


class Store:
    """The state of every destination that received a request."""

    def __init__(self) -> None:
        self._held: dict[str, HeldByDestination] = {}

    def of(self, name: str) -> HeldByDestination:
        """Return a destination's state, empty if it is new."""
        return self._held.setdefault(name, HeldByDestination(name))

    def names(self) -> list[str]:
        """Return the names of the destinations."""
        return sorted(self._held)

    def reset(self) -> None:
        """Delete all state."""
        self._held.clear()
