"""HubSpot's records, lists and custom events: docs/destinations/hubspot.md."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal
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
    RateLimit,
    Refused,
)
from revetl.destinations.base.field_check import check_fields
from revetl.destinations.base.records import (
    Records,
    Result,
    SyncContext,
    for_now,
    nobody,
)
from revetl.destinations.hubspot.batch import same, value_of
from revetl.destinations.hubspot.objects import STANDARD, HubSpotObject, kinds_of

TYPE_IDS = {"contacts": "0-1", "companies": "0-2"}

UNDERSTOOD = (
    SuccessShape("POST /crm/v3/objects/*/batch/*", {"results": [{"id": (str, int)}], "errors?": [dict]}),
    SuccessShape(
        "PUT /crm/v3/lists/*/memberships/*",
        tuple(
            {name: list}
            for name in ("recordsIdsAdded", "recordIdsAdded", "recordIdsRemoved", "recordsIdsRemoved")
        ),
    ),
    SuccessShape("GET /crm/v3/lists/object-type-id/*", {"list": {"listId": (str, int)}}),
    SuccessShape("POST /crm/v3/lists", {"list": {"listId": (str, int)}}),
    SuccessShape("POST /events/v3/send/batch", EMPTY),
    SuccessShape("POST /crm/v3/objects/contacts/gdpr-delete", EMPTY),
    SuccessShape("GET /events/v3/event-definitions/*", {"properties": [{"name": str, "type": str}]}),
    SuccessShape("GET /crm/v3/properties/*/*", {"name": str}),
    SuccessShape("GET /crm/v3/properties/*", {"results": [{"name": str, "type": str}]}),
)


class HubSpot(HubSpotObject):
    """Contacts, companies or other records by a unique property; an audience is a list of them."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=100)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=100, per_seconds=10)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "id_property"
    statuses: ClassVar[Mapping[int, Disposition]] = {
        409: Disposition.PASS,  # it was created meanwhile
        423: Disposition.RETRY,  # it is locked by another write
        477: Disposition.RETRY,  # the account is being migrated
    }
    cleared: ClassVar[Any] = ""
    can_set_if_empty: ClassVar[bool] = True
    known_fields: ClassVar[tuple[Attribute, ...]] = STANDARD["contacts"]
    container_fields: ClassVar[tuple[str, ...]] = ("object_type",)

    type: Literal["hubspot"]
    event_names: Mapping[str, str] = {}

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        """Check the fields against the properties of the object, or of the event."""
        if mode == "delete" and self.object_type != "contacts":
            raise Refused(
                f"HubSpot permanently deletes contacts only, not {self.object_type}. Use a destination with "
                "object_type contacts."
            )
        if fields and context.event and mode == "events":
            named = self.event_name(context.event)
            path = f"/events/v3/event-definitions/{quote(named, safe='')}"
            told = yield self.request("GET", path, params={"includeProperties": "true"})
            kinds = check_fields(f"HubSpot: event {named}", fields, kinds_of(told.json()["properties"]))
            context = replace(context, kinds=kinds)
        elif fields and mode not in ("events", "audience_events"):
            told = yield self.request("GET", f"/crm/v3/properties/{self.object_type}")
            properties = told.json()["results"]
            unique = {each["name"] for each in properties if each.get("hasUniqueValue")}
            if self.id_property not in {"email", *unique}:
                raise Refused(
                    f"HubSpot: '{self.id_property}' of {self.object_type} is not a property with unique "
                    f"values. Set id_property to one of: {', '.join(sorted(unique)) or 'none exist yet'}."
                )
            kinds = check_fields(f"HubSpot: {self.object_type}", fields, kinds_of(properties))
            context = replace(context, kinds=kinds)
        return (yield from super().prepare(mode, context, fields))

    def upsert(self, records: Records) -> Flow:
        return (yield from self.put(records)).result

    def add(self, records: Records) -> Flow:
        """Write the records, then add the accepted ones to the list by id."""
        made = yield from self.put(records)
        names, told = self.names(records), {*made.ids, *made.rejected, *made.retry}
        if untold := [place for place in range(len(records)) if place not in told]:
            # The response may omit the lookup value of a record.
            there = yield from self.there(records)
            found = {
                place: str(there[same(names[place])]["id"]) for place in untold if same(names[place]) in there
            }
            made.ids |= found
            made.retry |= {
                place: for_now("HubSpot did not return its id") for place in untold if place not in found
            }
        if made.ids:
            answer = yield self.listed("add", records, made.ids.values())
            missing = {str(each) for each in answer.json().get("recordIdsMissing") or []}
            gone = [place for place, made_id in made.ids.items() if made_id in missing]
            made.rejected |= dict.fromkeys(gone, nobody("HubSpot has no such record to add to the list"))
        return made.result

    def remove(self, records: Records) -> Flow:
        """Remove records from the list, without deleting them; unknown records are in no list."""
        there = yield from self.there(records)
        ids = [str(there[same(name)]["id"]) for name in self.names(records) if same(name) in there]
        if ids:
            yield self.listed("remove", records, ids)
        return Result()

    def insert(self, records: Records) -> Flow:
        there = yield from self.there(records)
        new = [place for place, name in enumerate(self.names(records)) if same(name) not in there]
        return (yield from self.write("create", records, new, {})).result if new else Result()

    def change(self, records: Records) -> Flow:
        return (yield from self.put(records, "update")).result

    @classmethod
    def erases_with(cls, config: Mapping[str, Any]) -> bool:
        return str(config.get("object_type", "contacts")) == "contacts"

    def delete(self, records: Records) -> Flow:
        """Permanently delete contacts, one per request, by their ids: HubSpot blocklists the address of an
        unknown contact forever. Unknown contacts count as deleted."""
        there = yield from self.there(records)
        ids = {str(there[same(name)]["id"]) for name in self.names(records) if same(name) in there}
        for made_id in sorted(ids):
            yield self.post("/crm/v3/objects/contacts/gdpr-delete", json={"objectId": made_id})
        return Result()

    def track(self, records: Records) -> Flow:
        """Send one event occurrence per record, by email, else by record id."""
        by_email = self.id_property == "email"
        there = {} if by_email else (yield from self.there(records))
        inputs, rejected = [], {}
        for place, (record, name) in enumerate(zip(records, self.names(records), strict=True)):
            found = there.get(same(name))
            if found is None and not by_email:
                rejected[place] = nobody(
                    f"no record of {self.object_type} in HubSpot has this {self.id_property}"
                )
                continue
            fields = {field: value_of(value) for field, value in record.fields.items() if value is not None}
            inputs.append(
                {
                    "eventName": self.event_name(records.event_of(record)),
                    **({"email": name} if found is None else {"objectId": str(found["id"])}),
                    "occurredAt": record.timestamp or records.at,
                    "uuid": str(uuid.UUID(hex=records.change_id(record))),
                    "properties": fields,
                }
            )
        if inputs:
            yield self.post("/events/v3/send/batch", json={"inputs": inputs})
        return Result(rejected)

    def event_name(self, event: str) -> str:
        """Return HubSpot's full name of an event, such as `pe1234_churned`."""
        return self.event_names.get(event, event)

    def listed(self, verb: str, records: Records, ids: Iterable[str]) -> httpx.Request:
        """Build the request that adds records to the audience's list, or removes them."""
        return self.request("PUT", f"/crm/v3/lists/{records.audience_id}/memberships/{verb}", json=list(ids))

    def find_audience(self, audience: str) -> Asking[str | None]:
        path = f"/crm/v3/lists/object-type-id/{self.type_id}/name/{quote(audience, safe='')}"
        answer = yield self.request("GET", path)
        if answer.status_code == 404:
            return None
        found = answer.json()["list"]
        if found.get("processingType") == "DYNAMIC":
            raise Refused(
                f"HubSpot: the list '{audience}' is an active list, so its filters determine its members. "
                "Rename the audience, or set the id of a static list in `audiences`."
            )
        return str(found["listId"])

    def create_audience(self, audience: str) -> Asking[str]:
        about = {"name": audience, "objectTypeId": self.type_id, "processingType": "MANUAL"}
        answer = yield self.post("/crm/v3/lists", json=about)
        return str(answer.json()["list"]["listId"])

    @property
    def type_id(self) -> str:
        """Return the object type id that lists use."""
        return TYPE_IDS.get(self.object_type, self.object_type)
