"""What a played destination holds, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Held:
    """One destination: people by id with what is held of each, audiences by name, and the request log. Of
    tools that have ids for their lists, the names and descriptions by id; of those that have jobs, the jobs;
    of those that know who has unsubscribed from a list, those people by list."""

    name: str
    api: str = ""
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    audiences: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    events: list[dict[str, Any]] = field(default_factory=list)
    seen_messages: set[str] = field(default_factory=set)
    lists: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    unsubscribed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    log: list[dict[str, Any]] = field(default_factory=list)

    def put(
        self, audience: str | None, person: str, fields: dict[str, Any], set_if_empty: Collection[str] = ()
    ) -> None:
        """Hold a person's fields, but those of `set_if_empty` that have a value, and have them in an
        audience."""
        held = self.profiles.setdefault(person, {})
        kept = [name for name in set_if_empty if held.get(name) not in (None, "")]
        held.update({name: value for name, value in fields.items() if name not in kept})
        if audience is not None:
            self.audiences[audience][person] = None

    def track(self, message_id: str | None, person: str, event: str, properties: dict[str, Any]) -> None:
        """Hold an event; one whose message is known is dropped."""
        known = message_id is not None and any(each["message_id"] == message_id for each in self.events)
        if not known:
            self.events.append(
                {"message_id": message_id, "person": person, "event": event, "properties": properties}
            )

    def new_list(self, name: str) -> str:
        """The id of a new list of that name."""
        made = str(1_001 + len(self.lists))
        self.lists[made] = name
        self.audiences[name] = {}
        return made

    def new_job(self, **about: Any) -> str:
        """The id of a new job."""
        made = f"job-{len(self.jobs) + 1}"
        self.jobs[made] = about
        return made

    def take_out(self, audience: str, person: str) -> None:
        """Have a person in an audience no longer."""
        self.audiences[audience].pop(person, None)

    def erase(self, person: str) -> None:
        """Hold nothing of a person."""
        self.profiles.pop(person, None)
        for people in self.audiences.values():
            people.pop(person, None)

    def merge(self, person: str, fields: dict[str, Any]) -> None:
        """Hold a person's attributes: null unsets one, true and false are membership of an audience of the
        attribute's name."""
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
        """What `GET /_/members/<name>` shows."""
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
    """Every destination that has been spoken to."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def of(self, name: str) -> Held:
        """A destination's hold, empty when it is new."""
        return self._held.setdefault(name, Held(name))

    def names(self) -> list[str]:
        """The destinations, by name."""
        return sorted(self._held)

    def reset(self) -> None:
        """Hold nothing of anybody."""
        self._held.clear()
