"""Pendo's visitors, segments and track events: docs/destinations/pendo.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import httpx

from revetl.destinations.base.answers import ACKNOWLEDGED, EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Identifier,
    Wait,
)
from revetl.destinations.base.field_check import check_fields
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import Record, Records, Result, SyncContext
from revetl.destinations.base.timestamps import too_old
from revetl.destinations.pendo.client import PendoApi
from revetl.destinations.pendo.data import (
    LONGEST_AGO,
    PLACEHOLDER,
    SHAPE,
    check_properties,
    event,
    known,
    refused,
    writable,
)

UNDERSTOOD = (
    SuccessShape(
        "POST /api/v1/metadata/visitor/*",
        {"total": int, "updated": int, "failed?": int, "missing?": list, "errors?": list},
    ),
    SuccessShape("GET /api/v1/metadata/schema/visitor", dict),
    SuccessShape("PATCH /api/v1/segment/*", {"multistatus": [{"status": int}]}),
    SuccessShape("GET /api/v1/segment", [{"id": str, "name": str}]),
    SuccessShape("POST /api/v1/segment/upload", {"segmentId": str}, again=False),
    SuccessShape("POST /data/track", (EMPTY, ACKNOWLEDGED, dict), again=False),
    SuccessShape("POST /api/v1/bulkdelete/visitor", {"id": (str, int)}),
    SuccessShape("GET /api/v1/token/verify", dict),
)


class Pendo(PendoApi, WithholdsPersonalData):
    """Metadata and track events of Pendo's visitors; a mirrored audience is a segment with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000)
    matches_by_all: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("visitorId", column="user_id"),
        Identifier("accountId", column="account_id", alone=False),
    )

    type: Literal["pendo"]
    metadata_group: Literal["custom", "agent"] = "custom"

    def upsert(self, records: Records) -> Flow:
        return self.metadata(records, creates=True)

    def change(self, records: Records) -> Flow:
        return self.metadata(records, creates=False)

    def metadata(self, records: Records, *, creates: bool) -> Flow:
        """Set metadata of visitors. Unknown visitors are created, or reported as missing."""
        body = [{"visitorId": known(record), "values": record.fields} for record in records]
        asked = {"create": "true"} if creates else None
        path = f"/api/v1/metadata/visitor/{self.metadata_group}/value"
        answer = yield self.request("POST", path, params=asked, json=body)
        return refused(answer.json(), [known(record) for record in records])

    def add(self, records: Records) -> Flow:
        result = Result()
        if any(record.fields for record in records):
            result = yield from self.upsert(records)
        people = [known(record) for at, record in enumerate(records) if at not in result.rejected]
        if people:
            yield self.membership("add", records, people)
        return result

    def remove(self, records: Records) -> Flow:
        yield self.membership("remove", records, [known(record) for record in records])
        return Result()

    def membership(self, operation: str, records: Records, people: list[str]) -> httpx.Request:
        """Build the request that adds people to the audience's segment, or removes them."""
        patch = {"patch": [{"op": operation, "path": "/visitors", "value": people}]}
        return self.request("PATCH", f"/api/v1/segment/{records.audience_id}/visitor", json=patch)

    def track(self, records: Records) -> Flow:
        """Send an event; requests hold a single one."""
        (record,) = records.records
        yield self.post("/data/track", json=event(records, record), headers=self.event_headers())
        return Result()

    def delete(self, records: Records) -> Flow:
        """Submit visitors for deletion, which Pendo limits to one request per second."""
        yield self.post("/api/v1/bulkdelete/visitor", json={"visitors": [known(each) for each in records]})
        yield Wait(1)
        return Result()

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.request("GET", "/api/v1/segment", params={"createdByApi": "true"})
        return next((str(each["id"]) for each in answer.json() if each["name"] == audience), None)

    def create_audience(self, audience: str) -> Asking[str]:
        about = {"name": audience, "visitors": [PLACEHOLDER]}
        answer = yield self.post("/api/v1/segment/upload", json=about)
        return str(answer.json()["segmentId"])

    def uses_audience(self, mode: str) -> bool:
        return mode == "mirror"

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode in ("events", "audience_events"):
            check_properties([*fields, *([context.audience] if mode == "audience_events" else [])])
        elif fields and mode != "delete":
            answer = yield self.request("GET", "/api/v1/metadata/schema/visitor")
            kinds = check_fields("Pendo", fields, writable(answer.json(), self.metadata_group))
            context = replace(context, kinds=kinds)
        if mode == "mirror":
            context = yield from super().prepare(mode, context, fields)
        return context

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        if mode not in ("events", "audience_events"):
            return record, {}
        fields, how = SHAPE.fitted(record.fields)
        return record._replace(fields=fields), how

    def limits_of(self, mode: str) -> Batch:
        most = {"events": 1, "audience_events": 1, "delete": 500}
        return Batch(records=most[mode]) if mode in most else self.limits

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        return too_old(record.timestamp, context.at, LONGEST_AGO, "Pendo")
