"""What destinations share that keep an audience as a thing of its own: a list, a segment, a campaign."""

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


@dataclass(frozen=True)
class Matched:
    """How many people a destination has found of an audience: at least, and at most. None where it does not
    say, as of audiences that are too small or too new."""

    at_least: int | None = None
    at_most: int | None = None


class HasAudiences(Destination):
    """A destination whose audiences have ids. Each is taken from `audiences` (by the audience's name), else
    `audience_id`, else it is the one that has the audience's name there, and is made where there is none."""

    audiences: Mapping[str, str] = {}
    audience_id: str | None = None

    def find_audience(self, audience: str) -> Asking[str | None]:
        """The id of the audience of that name; None where there is none."""
        raise NotImplementedError  # every connector has it

    def create_audience(self, audience: str) -> Asking[str]:
        """Make an audience of that name, and give its id."""
        raise NotImplementedError  # every connector has it

    def uses_audience(self, mode: str) -> bool:
        return mode == "mirror" or self.matches_by_all

    def audience_of(self, audience: str) -> str | None:
        return self.audiences.get(audience, self.audience_id)

    def prepare(self, mode: str, whole: Records, fields: Mapping[str, str]) -> Asking[Records]:
        if not self.uses_audience(mode):
            return whole
        known = self.audience_of(whole.audience)
        if known is None:
            known = yield from self.find_audience(whole.audience)
        if known is None:
            if not whole.creates:
                raise AudienceMissing(whole.audience)
            known = yield from self.create_audience(whole.audience)
        return replace(whole, audience_id=known)


class HasDescriptions(HasAudiences):
    """One whose audiences have a description, which can be read and changed: it keeps the mark of the last
    run. What somebody wrote there is left alone, unless a mark is in it."""

    def description(self, audience_id: str) -> Asking[str]:
        """The description of an audience; empty where it has none."""
        raise NotImplementedError  # every connector has it

    def describe(self, audience_id: str, text: str) -> Asking[None]:
        """Give an audience a description."""
        raise NotImplementedError  # every connector has it

    def marked(self, mode: str, whole: Records) -> Asking[str | None]:
        if not self.uses_audience(mode):
            return None
        known = self.audience_of(whole.audience)
        if known is None:
            known = yield from self.find_audience(whole.audience)
        return None if known is None else (yield from self.description(known))

    def mark(self, mode: str, whole: Records, text: str) -> Asking[None]:
        if whole.audience_id is None:
            return
        there = yield from self.description(whole.audience_id)
        if (text_now := with_mark(there, text)) is not None:
            yield from self.describe(whole.audience_id, text_now)


class AdAudience(HasAudiences):
    """People for advertisements: it holds nothing of them but that they are in the audience, and looks for
    them by all it is given."""

    matches_by_all: ClassVar[bool] = True
    takes_other_fields: ClassVar[bool] = False
    smallest: ClassVar[int | None] = None
    """The fewest matched people with whom it uses an audience."""

    @property
    def upsert_joins(self) -> bool:
        return True

    @classmethod
    def tells_matched(cls) -> bool:
        """Whether it can be asked how many people it has found."""
        return cls.matched is not AdAudience.matched

    def matched(self, audience_id: str) -> Asking[Matched]:
        """How many people it has found of those who were sent."""
        raise NotImplementedError  # where it is not overridden, `tells_matched` is false

    def upsert(self, records: Records) -> Flow:
        return self.add(records)

    def add(self, records: Records) -> Flow:
        raise NotImplementedError  # every connector has it

    def update(self, records: Records) -> Flow:
        return self.add(records)
