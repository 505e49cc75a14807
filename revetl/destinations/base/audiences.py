"""Base classes of destinations that store audiences as separate objects: lists, segments, campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from revetl.destinations.base.destination import (
    Asking,
    Destination,
    Flow,
    Records,
)
from revetl.destinations.base.flow import AudienceMissing
from revetl.destinations.base.marks import with_mark
from revetl.destinations.base.records import SyncContext


@dataclass(frozen=True)
class MatchCount:
    """How many people of an audience a destination has matched: lower and upper bound. None if it doesn't
    report a number, as for audiences that are too small or too new."""

    at_least: int | None = None
    at_most: int | None = None


class HasAudiences(Destination):
    """A destination whose audiences have ids. The id comes from `audiences` (by audience name), else
    `audience_id`, else from the existing audience of that name; if there is none, it is created."""

    audiences: Mapping[str, str] = {}
    audience_id: str | None = None

    def find_audience(self, audience: str) -> Asking[str | None]:
        """Return the id of the audience with that name; None if it doesn't exist."""
        raise NotImplementedError  # implemented by every connector

    def create_audience(self, audience: str) -> Asking[str]:
        """Create an audience with that name and return its id."""
        raise NotImplementedError  # implemented by every connector

    def uses_audience(self, mode: str) -> bool:
        return mode == "mirror" or self.matches_by_all

    def audience_of(self, audience: str) -> str | None:
        return self.audiences.get(audience, self.audience_id)

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if not self.uses_audience(mode):
            return context
        known = self.audience_of(context.audience)
        if known is None:
            known = yield from self.find_audience(context.audience)
        if known is None:
            if not context.creates:
                raise AudienceMissing(context.audience)
            known = yield from self.create_audience(context.audience)
        return replace(context, audience_id=known)


class HasDescriptions(HasAudiences):
    """A destination whose audiences have an editable description, which stores the marker of the last run. A
    description written by a user is left unchanged unless it contains a marker."""

    def description(self, audience_id: str) -> Asking[str]:
        """Return the description of an audience; empty if it has none."""
        raise NotImplementedError  # implemented by every connector

    def describe(self, audience_id: str, text: str) -> Asking[None]:
        """Set the description of an audience."""
        raise NotImplementedError  # implemented by every connector

    def marked(self, mode: str, context: SyncContext) -> Asking[str | None]:
        if not self.uses_audience(mode):
            return None
        known = self.audience_of(context.audience)
        if known is None:
            known = yield from self.find_audience(context.audience)
        return None if known is None else (yield from self.description(known))

    def mark(self, mode: str, context: SyncContext, text: str) -> Asking[None]:
        if context.audience_id is None:
            return
        there = yield from self.description(context.audience_id)
        if (text_now := with_mark(there, text)) is not None:
            yield from self.describe(context.audience_id, text_now)


class AdAudience(HasAudiences):
    """An advertising audience: it stores only membership, and matches people by all identifiers sent."""

    matches_by_all: ClassVar[bool] = True
    takes_other_fields: ClassVar[bool] = False
    smallest: ClassVar[int | None] = None
    """The minimum number of matched people for the audience to be usable."""

    @property
    def upsert_joins(self) -> bool:
        return True

    @classmethod
    def tells_matched(cls) -> bool:
        """Whether it can report how many people it has matched."""
        return cls.matched is not AdAudience.matched

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        """Return how many of the people sent it has matched."""
        raise NotImplementedError  # `tells_matched` is false unless overridden

    def upsert(self, records: Records) -> Flow:
        return self.add(records)

    def add(self, records: Records) -> Flow:
        raise NotImplementedError  # implemented by every connector

    def update(self, records: Records) -> Flow:
        return self.add(records)
