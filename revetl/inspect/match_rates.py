"""How many people of an audience its destinations have matched."""

from __future__ import annotations

from dataclasses import dataclass

from revetl.delivery.flow_runner import converse
from revetl.delivery.http import NotAccepted, Transport
from revetl.delivery.shutdown import run_to_end
from revetl.destinations.base.audiences import AdAudience, MatchCount
from revetl.destinations.base.destination import Asking, Refused
from revetl.errors import DestinationRefused, UsageError
from revetl.project.workspace import Workspace
from revetl.sync.state.tables import state_tables
from revetl.warehouse.templates import statement


@dataclass(frozen=True)
class MatchRate:
    """The match rate of one sync: the people sent to the destination (`held`), the lower and upper bound of
    those matched, and the minimum audience size for use. None if unknown."""

    sync: str
    held: int
    at_least: int | None
    at_most: int | None
    smallest: int | None

    @property
    def share(self) -> float | None:
        """Return the matched share, at least."""
        return self.at_least / self.held if self.at_least is not None and self.held else None

    @property
    def is_usable(self) -> bool | None:
        """Whether enough people were matched for the audience to be usable; None if unknown."""
        most = self.at_most if self.at_most is not None else self.at_least
        return None if most is None or self.smallest is None else most >= self.smallest


def match_rates(workspace: Workspace, name: str, *, to: str | None = None) -> tuple[MatchRate, ...]:
    """Return the match rates of an audience in each destination that reports them. Raises UsageError if none
    does, and DestinationRefused if a destination can't be queried."""
    asked = []
    for sync in workspace.syncs(workspace.audience(name), to):
        destination = workspace.destination(sync)
        if isinstance(destination, AdAudience) and destination.tells_matched():
            asked.append((sync.name, destination))
    if not asked:
        raise UsageError(f"{name}: none of its syncs' destinations report match rates.")
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        query = statement("select sync, count(*) from :state as s group by sync", state=tables.state)
        there = warehouse.exists(tables.state)
        held = dict(warehouse.rows(query)) if there else {}
    finally:
        warehouse.close()
    return tuple(_rate(sync, destination, name, int(held.get(sync, 0))) for sync, destination in asked)


def _rate(sync: str, destination: AdAudience, audience: str, held: int) -> MatchRate:
    found = run_to_end(lambda: _ask(destination, audience))
    return MatchRate(sync, held, found.at_least, found.at_most, destination.smallest)


async def _ask(destination: AdAudience, audience: str) -> MatchCount:
    async with Transport(destination) as transport:
        try:
            return (await converse(transport, _matched(destination, audience))).value
        except (NotAccepted, Refused) as error:
            raise DestinationRefused(transport.redact(str(error))) from None


def _matched(destination: AdAudience, audience: str) -> Asking[MatchCount]:
    known = destination.audience_of(audience)
    if known is None:
        known = yield from destination.find_audience(audience)
    if known is None:
        return MatchCount()
    return (yield from destination.matched(known))
