"""People and accounts of Segment, or of RudderStack: docs/destinations/segment.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from revetl.destinations.base.answers import ACKNOWLEDGED, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Identifier,
    Record,
    Records,
    Refused,
    Result,
)
from revetl.destinations.base.records import SyncContext
from revetl.destinations.segment.client import SegmentApi
from revetl.destinations.segment.messages import (
    BEFORE,
    Message,
    alias,
    happened,
    saved,
)

IDS_A_REGULATION = 5_000

UNDERSTOOD = (
    # RudderStack responds with a single word.
    SuccessShape("POST /v1/batch", (ACKNOWLEDGED, {"success": True})),
    SuccessShape("POST /regulations", {"data": {"regulateId": str}}),
)


class Segment(SegmentApi):
    """`identify` calls, or `group` calls for accounts, with the mapped traits and, for a mirrored audience, a
    boolean trait with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("userId", column="user_id"),
        Identifier("anonymousId", column="anonymous_id"),
        Identifier("groupId", column="group_id", alone=False),
    )

    type: Literal["segment"]
    calls: Literal["identify", "group"] = "identify"
    events_as: Literal["track", "page", "screen"] = "track"
    on_delete: Literal["SUPPRESS_WITH_DELETE", "DELETE_ONLY", "DELETE_INTERNAL"] = "SUPPRESS_WITH_DELETE"

    @classmethod
    def erases_with(cls, config: Mapping[str, Any]) -> bool:
        return not config.get("data_plane_url")

    def limits_of(self, mode: str) -> Batch:
        return Batch(records=IDS_A_REGULATION) if mode == "delete" else self.limits

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        if self.calls == "identify":
            return self.identifiers
        # A groupId identifies an account, whichever member is sent with it.
        user, anonymous, group = self.identifiers
        return (replace(group, alone=True), user, anonymous)

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Deletion needs a userId; a group call needs a groupId."""
        if mode == "delete":
            return (frozenset({"userId"}),)
        if self.calls == "group" and mode not in ("events", "audience_events"):
            return (frozenset({"groupId"}),)
        return super().found_by(mode)

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if mode == "delete" or mode in ("events", "audience_events"):
            return None
        is_alias = record.fields.get(BEFORE) and "userId" not in record.identifiers
        return "an alias call needs a userId, which it lacks" if is_alias else None

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode == "delete" and self.data_plane_url:
            raise Refused("RudderStack's data plane cannot delete people. Use its User Suppression API.")
        if mode == "delete" and self.public_api_token is None:
            raise Refused(
                "Segment deletes people through its Public API. Set public_api_token to one of its tokens "
                "(Settings > Workspace settings > Access Management > Tokens)."
            )
        return (yield from super().prepare(mode, context, fields))

    def upsert(self, records: Records) -> Flow:
        return self.save(records, {})

    def add(self, records: Records) -> Flow:
        return self.save(records, {records.audience: True})

    def update(self, records: Records) -> Flow:
        return self.save(records, {records.audience: True})

    def remove(self, records: Records) -> Flow:
        left = {records.audience: False}
        return self.send([saved(records, record, left)] for record in records)

    def save(self, records: Records, membership: Mapping[str, bool]) -> Flow:
        """Send the traits of people or groups. A previous identifier, if mapped, is sent first as an
        alias."""

        def told(record: Record) -> list[Message]:
            traits = {name: value for name, value in record.fields.items() if name != BEFORE}
            before = alias(records, record)
            made = saved(records, record, {**traits, **membership})
            return [made] if before is None else [before, made]

        return self.send(told(record) for record in records)

    def track(self, records: Records) -> Flow:
        return self.send([happened(records, record, self.events_as)] for record in records)

    def delete(self, records: Records) -> Flow:
        yield self.regulation(self.on_delete, [str(record.identifiers["userId"]) for record in records])
        return Result()
