"""Marketo's leads, static lists and custom activities: docs/destinations/marketo.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal
from urllib.parse import urlencode

import orjson

from revetl.config.base import ConfigModel
from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Asking,
    Attribute,
    Batch,
    Flow,
    RateLimit,
    Record,
    Records,
    Refused,
    Rejection,
    Result,
)
from revetl.destinations.base.field_check import TEXT, check_fields
from revetl.destinations.base.records import SyncContext, nobody
from revetl.destinations.marketo.client import KINDS, MarketoApi, refusals


class ActivityType(ConfigModel):
    """A custom activity type: its id, and the field for its primary attribute."""

    id: int
    primary: str


UNDERSTOOD = (
    SuccessShape("GET /rest/v1/leads/describe2.json", {"success": True, "result": [{"fields": [dict]}]}),
    SuccessShape("GET /rest/v1/leads.json", {"success": True, "result": [{"id": int}]}),
    SuccessShape("POST /rest/v1/leads.json", {"success": True, "result": [dict]}),
    SuccessShape(
        "POST /rest/v1/leads/delete.json", {"success": True, "result": [{"id": int, "status": str}]}
    ),
    SuccessShape("* /rest/v1/lists/*/leads.json", {"success": True, "result": [{"id": int, "status": str}]}),
    SuccessShape(
        "POST /rest/v1/activities/external.json", {"success": True, "result": [{"status": str}]}, again=False
    ),
    # If nothing is found, the result is missing, or the error is 702.
    SuccessShape(
        "GET /rest/asset/v1/staticList/byName.json",
        ({"success": True, "result?": [{"id": int}]}, {"success": False, "errors": [{"code": "702"}]}),
    ),
    SuccessShape(
        "POST /rest/asset/v1/staticLists.json", {"success": True, "result": [{"id": int}]}, again=False
    ),
)


class Marketo(MarketoApi):
    """Leads of Marketo by email or another field; an audience is a static list with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=300, bytes=1_000_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=100, per_seconds=20)
    can_set_if_empty: ClassVar[bool] = True
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("email", "email"),
        Attribute("firstName", "first_name"),
        Attribute("lastName", "last_name"),
        Attribute("postalCode", "postal_code"),
    )

    type: Literal["marketo"]
    folder_id: int | None = None
    folder_type: Literal["Folder", "Program"] = "Folder"
    activity_types: Mapping[str, ActivityType] = {}

    def upsert(self, records: Records) -> Flow:
        return self.sync("createOrUpdate", records)

    def insert(self, records: Records) -> Flow:
        # 1005: the lead already exists, and stays unchanged.
        return self.sync("createOnly", records, well="1005")

    def change(self, records: Records) -> Flow:
        return self.sync("updateOnly", records)

    def add(self, records: Records) -> Flow:
        return self.sync("createOrUpdate", records, listed=True)

    def remove(self, records: Records) -> Flow:
        # Unknown leads, and leads outside the list, count as removed.
        found = yield from self.leads(records)
        yield from self.members("DELETE", records, [lead["id"] for lead in found])
        return Result()

    def delete(self, records: Records) -> Flow:
        """Delete every lead with the lookup value; unknown leads count as deleted. A lead that is also in a
        connected CRM is created again when it changes there, so the CRM comes first."""
        found = yield from self.leads(records)
        places = {
            lead["id"]: place
            for lead in found
            for place, record in enumerate(records)
            if self.called(record.identifiers) == self.called(lead)
        }
        rejected: dict[int, Rejection] = {}
        ids = list(places)
        for at in range(0, len(ids), self.batch.records):
            part = ids[at : at + self.batch.records]
            answer = yield self.post(
                "/rest/v1/leads/delete.json", json={"input": [{"id": id} for id in part]}
            )
            results = answer.json()["result"]
            if len(results) != len(part):
                raise AnswerNotUnderstood(f"the response has {len(results)} results for {len(part)} leads")
            refused = refusals(zip(part, results, strict=True), "1004")
            rejected |= {places[lead]: why for lead, why in refused.items()}
        return Result(rejected)

    def track(self, records: Records) -> Flow:
        found = yield from self.leads(records)
        leads = {self.called(lead): lead["id"] for lead in found}
        sent, rejected = {}, dict[int, Rejection]()
        for at, record in enumerate(records):
            if (kind := self.activity_types.get(event := records.event_of(record))) is None:
                rejected[at] = Rejection(f"no custom activity configured for '{event}': set activity_types")
                continue
            primary, lead = record.fields.get(kind.primary), leads.get(self.called(record.identifiers))
            if lead is None or primary is None:
                rejected[at] = (
                    nobody("Lead not found")
                    if lead is None
                    else Rejection(f"it has no value for '{kind.primary}'")
                )
                continue
            others = {name: value for name, value in record.fields.items() if name != kind.primary}
            sent[at] = {
                "leadId": lead,
                "activityDate": record.timestamp or records.at,
                "activityTypeId": kind.id,
                "primaryAttributeValue": str(primary),
                "attributes": [
                    {"apiName": name, "value": value} for name, value in others.items() if value is not None
                ],
            }
        if sent:
            answer = yield self.post("/rest/v1/activities/external.json", json={"input": [*sent.values()]})
            rejected |= refusals(zip(sent, answer.json()["result"], strict=True))
        return Result(rejected)

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        looks_up = mode in ("mirror", "events", "audience_events", "delete") or context.set_if_empty
        if looks_up and "," in self.called(record.identifiers):
            return f"its {self.lookup_field} contains a comma, so Marketo would look up two leads"
        return super().unfit(mode, context, record)

    def sync(self, action: str, records: Records, *, well: str = "", listed: bool = False) -> Flow:
        """Send leads, and add them to the list if `listed`. `well` is an error code that counts as
        success."""
        found = []
        if records.set_if_empty:
            found = yield from self.leads(records, *records.set_if_empty)
        held = {self.called(lead): lead for lead in found}
        there = [held.get(self.called(record.identifiers), {}) for record in records]
        leads = [
            {**records.fields_over(record, lead), **record.identifiers}
            for record, lead in zip(records, there, strict=True)
        ]
        # Marketo assigns ids itself, so leads can only be updated by id.
        action = "updateOnly" if self.lookup_field == "id" else action
        body = {"action": action, "lookupField": self.lookup_field, "input": leads}
        answer = yield self.post("/rest/v1/leads.json", json=body)
        results = answer.json()["result"]
        if len(results) != len(leads):
            raise AnswerNotUnderstood(f"the response has {len(results)} results for {len(leads)} leads")
        rejected = refusals(enumerate(results), well)
        if listed:
            ids = {at: result["id"] for at, result in enumerate(results) if at not in rejected}
            refused = yield from self.members("POST", records, ids.values())
            rejected |= {at: refused[lead] for at, lead in ids.items() if lead in refused}
        return Result(rejected)

    def members(self, method: str, records: Records, leads: Iterable[int]) -> Asking[dict[int, Rejection]]:
        """Add leads to the list, or remove them. Returns the rejections."""
        refused: dict[int, Rejection] = {}
        ids = list(dict.fromkeys(leads))
        for at in range(0, len(ids), self.batch.records):
            named = urlencode([("id", lead) for lead in ids[at : at + self.batch.records]])
            answer = yield self.request(method, f"/rest/v1/lists/{records.audience_id}/leads.json?{named}")
            refused |= refusals((each["id"], each) for each in answer.json()["result"])
        return refused

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.request("GET", "/rest/asset/v1/staticList/byName.json", params={"name": audience})
        found = answer.json().get("result")
        return str(found[0]["id"]) if found else None

    def create_audience(self, audience: str) -> Asking[str]:
        if self.folder_id is None:
            raise Refused(
                f"Marketo has no static list '{audience}'. Create it, or set folder_id to the folder to "
                "create it in."
            )
        folder = orjson.dumps({"id": self.folder_id, "type": self.folder_type}).decode()
        answer = yield self.form("/rest/asset/v1/staticLists.json", {"folder": folder, "name": audience})
        return str(answer.json()["result"][0]["id"])

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        context = yield from super().prepare(mode, context, fields)
        if mode in ("events", "audience_events"):
            entering = ("Audience Entered", "Audience Exited") if mode == "audience_events" else ()
            for event in filter(None, (context.event, *entering)):
                if event not in self.activity_types:
                    raise Refused(
                        f"Marketo: no custom activity configured for '{event}'. Set activity_types."
                    )
        elif fields:
            answer = yield self.probe()
            there = answer.json()["result"][0]["fields"]
            kinds = {each["name"]: KINDS.get(each["dataType"], TEXT) for each in there if each["updateable"]}
            context = replace(context, kinds=check_fields("marketo", fields, kinds))
        return context
