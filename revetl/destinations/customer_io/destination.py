"""Customer.io's people, events and manual segments: docs/destinations/customer_io.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import orjson

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Flow,
    Identifier,
    RateLimit,
    Record,
    Records,
    Rejection,
    Result,
)
from revetl.destinations.base.field_check import MOMENT
from revetl.destinations.base.records import SyncContext
from revetl.destinations.customer_io.client import CustomerIoApi
from revetl.destinations.customer_io.person import (
    attributes_of,
    event_id,
    known_by,
    merged_from,
    seconds,
)

OBJECT_BYTES = 32_000

UNDERSTOOD = (
    SuccessShape("POST /api/v2/batch", {"errors?": [{"batch_index": int}]}),
    SuccessShape("POST /api/v1/segments/*", (EMPTY, dict)),
    SuccessShape("GET /v1/segments", {"segments": [{"id": (int, str), "name": str}]}),
    SuccessShape("POST /v1/segments", {"segment": {"id": (int, str)}}),
    SuccessShape("GET /api/v1/accounts/region", dict),
)


class CustomerIo(CustomerIoApi):
    """People of Customer.io by id, email or cio_id; an audience is a manual segment with its name.
    Unsubscribed people are never subscribed again."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000, bytes=500_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=100)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("id", column="user_id"),
        Identifier("email", column="email", normalised="email"),
        Identifier("cio_id", column="cio_id"),
    )
    cleared: ClassVar[Any] = ""
    known_fields: ClassVar[tuple[Attribute, ...]] = (Attribute("created_at", "created_at", MOMENT),)
    account_fields: ClassVar[tuple[str, ...]] = ("site_id",)

    type: Literal["customer_io"]
    on_delete: Literal["delete", "suppress"] = "delete"

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        size = len(orjson.dumps(record.fields))
        large = f"its attributes have {size} bytes, more than the maximum of {OBJECT_BYTES}"
        return large if size > OBJECT_BYTES else None

    def upsert(self, records: Records) -> Flow:
        return Result((yield from self.identify(records)))

    def add(self, records: Records) -> Flow:
        rejected = yield from self.identify(records)
        taken = [record for at, record in enumerate(records) if at not in rejected]
        for kind, ids in by_kind(taken).items():
            yield self.segment("add_customers", records, kind, ids)
        return Result(rejected)

    def remove(self, records: Records) -> Flow:
        for kind, ids in by_kind(records.records).items():
            yield self.segment("remove_customers", records, kind, ids)
        return Result()

    def delete(self, records: Records) -> Flow:
        told = [(at, person(record, self.on_delete)) for at, record in enumerate(records)]
        return Result((yield from self.send(told)))

    def track(self, records: Records) -> Flow:
        told = [
            (
                at,
                person(record, "event")
                | {
                    "name": records.event_of(record),
                    "id": event_id(records.change_id(record), record.timestamp),
                }
                | ({"timestamp": seconds(record.timestamp)} if record.timestamp else {})
                | {"attributes": dict(record.fields)},
            )
            for at, record in enumerate(records)
        ]
        return Result((yield from self.send(told)))

    def identify(self, records: Records) -> Asking[dict[int, Rejection]]:
        """Create or update people. A previous identifier, if mapped, is merged into the person."""
        told = []
        for at, record in enumerate(records):
            kind, name = known_by(record)
            told.append((at, person(record, "identify") | {"attributes": attributes_of(record)}))
            if before := record.fields.get("merge_from"):
                ids = {"primary": {kind: name}, "secondary": merged_from(kind, name, before)}
                told.append((at, {"type": "person", "action": "merge", **ids}))
        return (yield from self.send(told))


def person(record: Record, action: str) -> dict[str, Any]:
    """Return a batch object about one person."""
    kind, name = known_by(record)
    return {"type": "person", "action": action, "identifiers": {kind: name}}


def by_kind(records: tuple[Record, ...] | list[Record]) -> Mapping[str, list[str]]:
    """Group people's identifiers by type: a segment request accepts only one type."""
    found: dict[str, list[str]] = {}
    for record in records:
        kind, name = known_by(record)
        found.setdefault(kind, []).append(name)
    return found
