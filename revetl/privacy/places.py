"""The places that store personal data, in the order in which requests are processed."""

from __future__ import annotations

from dataclasses import dataclass

from revetl.destinations import destination_class
from revetl.privacy.requests import AT_DESTINATIONS, ERASING, SUPPRESS_ONLY
from revetl.project.workspace import Workspace

DESTINATION = "destination:"
RAW, STATE, SNAPSHOTS, MODELS, LOCAL = "raw", "state", "snapshots", "models", "local"
CRMS = ("salesforce", "hubspot", "pipedrive", "close", "copper")
"""Types that other tools copy people from; erase here first, or people would be copied back."""
_LAST = ("segment",)
"""Types that forward people to other tools."""
ERASE, REMOVE = "erase", "remove"


@dataclass(frozen=True)
class Place:
    """A place, and what a request does there."""

    name: str
    detail: str
    action: str = ERASE

    @property
    def destination(self) -> str | None:
        """The destination's name in revetl.yml; None for other places."""
        return self.name.removeprefix(DESTINATION) if self.name.startswith(DESTINATION) else None


def places_of(workspace: Workspace, regulation_type: str) -> tuple[Place, ...]:
    """Return the places that a request of a type covers."""
    found: list[Place] = []
    if regulation_type in AT_DESTINATIONS:
        found += [
            _at_destination(workspace, name, wanted=regulation_type != SUPPRESS_ONLY)
            for name in ordered_destinations(workspace)
        ]
    if regulation_type in ERASING:
        found += [
            Place(RAW, "deletes the person's messages from the raw tables"),
            Place(SNAPSHOTS, "deletes the person's rows from snapshots"),
            Place(STATE, "deletes the person's rows from the tables of syncs"),
            Place(LOCAL, "deletes what interrupted runs left in .revetl"),
            Place(MODELS, "leaves the person out of the models, by a build"),
        ]
    return tuple(found)


def ordered_destinations(workspace: Workspace) -> list[str]:
    """Return destinations in erasure order: `privacy.order` in revetl.yml, then CRMs, others, and forwarding
    destinations."""
    configured = workspace.config.privacy.order
    destinations = workspace.config.destinations

    def place(name: str) -> tuple[int, int]:
        if name in configured:
            return (0, configured.index(name))
        kind = destinations[name].get("type")
        return (1 if kind in CRMS else 3 if kind in _LAST else 2, 0)

    return sorted(destinations, key=lambda name: (*place(name), name))


def erases(workspace: Workspace, name: str) -> bool:
    """Test whether a destination's API can erase people."""
    config = workspace.config.destinations[name]
    place = f"revetl.yml: destinations.{name}"
    return destination_class(config.get("type"), place).erases_with(config)


def _at_destination(workspace: Workspace, name: str, *, wanted: bool) -> Place:
    kind = workspace.config.destinations[name].get("type")
    if not wanted:
        return Place(f"{DESTINATION}{name}", "removes the person from every audience", REMOVE)
    if not erases(workspace, name):
        detail = f"removes the person from every audience; {kind} cannot erase people"
        return Place(f"{DESTINATION}{name}", detail, REMOVE)
    return Place(f"{DESTINATION}{name}", "erases the person")
