"""Intercom's contacts, tags and events: docs/destinations/intercom.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import httpx

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Flow,
    Identifier,
    RateLimit,
    Record,
    Records,
    Refused,
    Result,
)
from revetl.destinations.base.field_check import MOMENT, TEXT
from revetl.destinations.base.per_person import Person
from revetl.destinations.base.records import SyncContext, nobody
from revetl.destinations.intercom.client import IntercomWorkspace
from revetl.destinations.intercom.contact import (
    EXISTS,
    LESS,
    PLAIN,
    TIMES,
    contact,
    flat,
    is_tagged,
    same,
    sought,
    unix,
)

MOST_METADATA = 10
"""The maximum number of fields that Intercom keeps per event."""

UNDERSTOOD = (
    SuccessShape("POST /contacts/search", {"data": [{"id": str}]}),
    # An existing contact results in a conflict response.
    SuccessShape("POST /contacts", {"id": str}),
    SuccessShape("GET /contacts/*", {"id": str}),
    SuccessShape("PUT /contacts/*", {"id": str}),
    SuccessShape("POST /contacts/*", {"id": str}),
    SuccessShape("DELETE /contacts/*", {"id": str}),
    SuccessShape("POST /events", (EMPTY, dict), again=False),
    SuccessShape("GET /tags", {"data": [{"id": str, "name": str}]}),
    SuccessShape("POST /tags", {"id": str}),
    SuccessShape("GET /data_attributes", {"data": [dict]}),
    SuccessShape("GET /me", dict),
)


class Intercom(IntercomWorkspace):
    """Contacts of Intercom by external id or email; an audience is a tag."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    rate: ClassVar[RateLimit | None] = RateLimit(requests=1_666, per_seconds=10)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("external_id", column="user_id"),
        Identifier("email", column="email", normalised="email"),
    )
    known_fields: ClassVar[tuple[Attribute, ...]] = tuple(
        Attribute(name, name, MOMENT if name in TIMES else TEXT) for name in (*PLAIN, *LESS)
    )
    container_fields: ClassVar[tuple[str, ...]] = ("audience_field",)

    type: Literal["intercom"]

    def search(self, record: Record) -> Asking[list[Person]]:
        answer = yield self.post("/contacts/search", json={"query": sought(record)})
        return same(answer.json()["data"], record, self.role)

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        return self.post("/contacts", json={"role": self.role, **record.identifiers, **contact(fields)})

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        return self.request("PUT", f"/contacts/{person['id']}", json=contact(fields))

    def save(
        self, records: Records, *, creates: bool = True, changes: bool = True, joins: bool = False
    ) -> Flow:
        """Search for a record's contact; create or update it, and tag it if it joins."""
        (record,) = records.records
        found = yield from self.search(record)
        if not found:
            if not creates:
                return Result(rejected={0: nobody()})
            answer = yield self.created(record, records.fields_over(record, {}))
            if answer.status_code == 409:
                # Search finds new contacts only after a delay; the conflict response names the contact.
                exists = EXISTS.search(answer.text)
                if exists is None or "archived" in answer.text:
                    return Result(rejected={0: f"the contact already exists in Intercom: {answer.text}"})
                answer = yield self.request("GET", f"/contacts/{exists[1]}")
                found = [answer.json()]
        person = found[0] if found else answer.json()
        if found and changes:
            known = {name: x for name, x in record.identifiers.items() if person.get(name) != x}
            if contact(fields := {**known, **records.fields_over(record, flat(person))}):
                yield self.changed(person, fields)
        if joins and not is_tagged(person, records.audience_id):
            yield self.post(f"/contacts/{person['id']}/tags", json={"id": records.audience_id})
        return Result()

    def remove(self, records: Records) -> Flow:
        (record,) = records.records
        for person in (yield from self.search(record)):
            yield self.request("DELETE", f"/contacts/{person['id']}/tags/{records.audience_id}")
        return Result()

    def delete(self, records: Records) -> Flow:
        (record,) = records.records
        for person in (yield from self.search(record)):
            if self.erasure == "archive":
                yield self.request("POST", f"/contacts/{person['id']}/archive")
            else:
                yield self.request("DELETE", f"/contacts/{person['id']}")
        return Result()

    def track(self, records: Records) -> Flow:
        """Send events by id directly; lookup by email doesn't find all contacts, so those are searched
        first."""
        (record,) = records.records
        if "external_id" not in record.identifiers:
            return (yield from super().track(records))
        yield self.happened({"user_id": record.identifiers["external_id"]}, records, record)
        return Result()

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        who = {name: person[name] for name in ("user_id", "id") if name in person}
        about = {"event_name": records.event_of(record), "created_at": unix(record.timestamp or records.at)}
        return self.post("/events", json={**who, **about, "metadata": record.fields})

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if "events" in mode and len(fields) > MOST_METADATA:
            raise Refused(
                f"Intercom keeps at most {MOST_METADATA} fields per event, but {len(fields)} are mapped."
            )
        return (yield from super().prepare(mode, context, fields))
