"""Fullstory's users and events: docs/destinations/fullstory.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal
from urllib.parse import quote

import httpx

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Disposition,
    Flow,
    Identifier,
    Refused,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import Record, Records, Result, SyncContext
from revetl.destinations.base.shapes import Shape
from revetl.destinations.fullstory.jobs import ImportJobs

PROPERTY = re.compile("[A-Za-z][A-Za-z0-9_]{0,511}")
LONGEST_UID = 256
SHAPE = Shape(name=PROPERTY, objects=True, lists=True)
"""Fullstory accepts objects and lists, but not lists of objects."""

UNDERSTOOD = (
    SuccessShape("POST /v2/*/batch", {"job": {"id": str}}),
    SuccessShape(
        "GET /v2/*/batch/*/errors", {"results?": [dict], "next_page_token?": str, "total_records": (str, int)}
    ),
    SuccessShape(
        "GET /v2/*/batch/*",
        {"job": {"status": ("PROCESSING", "COMPLETED", "FAILED", "CANCELLED")}, "errors?": int},
    ),
    SuccessShape("DELETE /v2/users*", (EMPTY, dict)),
    SuccessShape("GET /me", dict),
)


class FullStory(ImportJobs, WithholdsPersonalData):
    """Properties and events of Fullstory's users by uid, through import jobs. A mirrored audience is a
    boolean property with its name, usable in Fullstory's segments."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=50_000)
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("display_name", "name"),
        Attribute("email", "email"),
    )
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("uid", column="user_id"),
        Identifier("id", column="fullstory_id"),
    )

    type: Literal["fullstory"]
    use_most_recent: bool = False

    def upsert(self, records: Records) -> Flow:
        return self.users(records, {})

    def add(self, records: Records) -> Flow:
        return self.users(records, {records.audience: True})

    update = add

    def remove(self, records: Records) -> Flow:
        return self.users(records, {records.audience: False}, with_fields=False)

    def users(self, records: Records, more: Mapping[str, bool], *, with_fields: bool = True) -> Flow:
        """Import users with their fields, adding `more` to each user's properties."""
        users = []
        for record in records:
            fields = {**(record.fields if with_fields else {}), **more}
            own = {each.name: fields.pop(each.name) for each in self.known_fields if each.name in fields}
            users.append({**known(record), **own, **({"properties": fields} if fields else {})})
        return (yield from self.imported("users", "user", records, users, ("uid", "id")))

    def track(self, records: Records) -> Flow:
        """Import events, with the fields as their properties."""
        session = {"session": {"use_most_recent": True}} if self.use_most_recent else {}
        events = [
            {
                "user": known(record),
                **session,
                "name": records.event_of(record),
                "timestamp": record.timestamp or records.at,
                "properties": record.fields,
            }
            for record in records
        ]
        return (yield from self.imported("events", "event", records, events, ("user", "name", "properties")))

    def delete(self, records: Records) -> Flow:
        (record,) = records.records
        name, value = next(iter(known(record).items()))
        whose = f"?uid={quote(value, safe='')}" if name == "uid" else f"/{quote(value, safe='')}"
        yield self.request("DELETE", f"/v2/users{whose}")
        return Result()

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        own = [context.audience] if mode in ("mirror", "audience_events") else []
        _check_names([*fields, *own])
        return context
        yield

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        fields, how = SHAPE.fitted(record.fields)
        return record._replace(fields=fields), how

    def limits_of(self, mode: str) -> Batch:
        return Batch(records=1) if mode == "delete" else self.limits

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if len(str(record.identifiers.get("uid", ""))) > LONGEST_UID:
            return f"its uid is longer than {LONGEST_UID} characters"
        return None

    def probe(self) -> httpx.Request:
        return self.request("GET", "/me")

    def judge(self, response: httpx.Response) -> Disposition:
        # Deleting an unknown user counts as success.
        if response.request.method == "DELETE" and response.status_code == 404:
            return Disposition.PASS
        return super().judge(response)


def known(record: Record) -> dict[str, str]:
    """Return the uid, else Fullstory's own id: the API accepts only one of them."""
    name = "uid" if "uid" in record.identifiers else "id"
    return {name: str(record.identifiers[name])}


def _check_names(names: Iterable[str]) -> None:
    """Raises Refused for a property name that Fullstory would drop."""
    for name in names:
        if PROPERTY.fullmatch(name) is None:
            raise Refused(
                f"Fullstory would drop the property '{name}'. Rename it to letters, digits and underscores, "
                "starting with a letter."
            )
