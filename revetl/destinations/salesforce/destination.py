"""Salesforce's objects and campaigns: docs/destinations/salesforce.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from revetl.destinations.base.answers import EMPTY, FILE, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Flow,
    Identifier,
    Records,
    Refused,
)
from revetl.destinations.base.records import SyncContext
from revetl.destinations.salesforce.bulk import result_of
from revetl.destinations.salesforce.objects import (
    STANDARD,
    Name,
    SalesforceObject,
    unless_set,
)
from revetl.destinations.salesforce.soql import (
    check_described,
    literal,
    rows_by,
    same,
    select,
)
from revetl.destinations.salesforce.task import subject, task_fields, writable

MEMBERS = ("Lead", "Contact", "Account")
NO_CAMPAIGN = frozenset({"INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"})
EVENTS = ("events", "audience_events")
POWERS = {"insert": ("createable",), "update": ("updateable",), "events": ("createable",)}

ROW = {"success": bool, "errors?": [dict], "id?": str}
UNDERSTOOD = (
    SuccessShape("PATCH /composite/sobjects*", [ROW]),
    SuccessShape("DELETE /composite/sobjects", [ROW]),
    SuccessShape("POST /composite/sobjects", [ROW], again=False),
    SuccessShape("GET /query*", {"records": [dict], "done": bool}),
    SuccessShape("GET /describe", {"fields": [{"name": str}]}),
    SuccessShape("POST /sobjects/Campaign", {"id": str}, again=False),
    SuccessShape("GET /jobs/ingest/*Results", (FILE, EMPTY)),
    SuccessShape("PUT /jobs/ingest/*/batches", EMPTY),
    SuccessShape("POST /jobs/ingest", {"id": str}),
    SuccessShape("* /jobs/ingest/*", {"state": str}),
    SuccessShape("GET /limits", dict),
)


class Salesforce(SalesforceObject):
    """Records of an object by an external id; an audience is a campaign, whose members they are."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=200)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("Email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "external_id_field"
    can_set_if_empty: ClassVar[bool] = True
    known_fields: ClassVar[tuple[Attribute, ...]] = STANDARD["Contact"]
    container_fields: ClassVar[tuple[str, ...]] = ("object",)

    type: Literal["salesforce"]
    member_status: str | None = None
    task_external_id_field: Name | None = None
    hard_delete: bool = False
    """Delete people past the recycle bin, with the permission "Bulk API Hard Delete"."""

    def declared_in(self, mode: str) -> tuple[Attribute, ...]:
        # The columns of an event are its properties, not fields of the person.
        return () if mode in EVENTS else self.declared

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode == "mirror" and self.object not in MEMBERS:
            raise Refused(f"Salesforce: {self.object} records cannot be campaign members. Use mode 'upsert'.")
        if mode in EVENTS:
            described = (yield self.call("GET", "sobjects/Task/describe")).json()
            named = {} if context.spreads else fields
            by = self.task_external_id_field
            checked = check_described(described, named, may=POWERS["events"], external_id=by)
            context = replace(context, kinds={**writable(described), **checked})
        elif fields:
            described = (yield self.call("GET", f"sobjects/{self.object}/describe")).json()
            may = POWERS.get(mode, ("createable", "updateable"))
            by = self.external_id_field
            context = replace(context, kinds=check_described(described, fields, may=may, external_id=by))
        if self.is_over:
            raise self.over()
        return (yield from super().prepare(mode, context, fields))

    def upsert(self, records: Records) -> Flow:
        return result_of(enumerate((yield from self.put(records))))

    def add(self, records: Records) -> Flow:
        """Save the people, then add those accepted as members."""
        people = yield from self.put(records)
        taken = [place for place, each in enumerate(people) if each.why is None]
        key, about = f"{self.object}Id", {"CampaignId": records.audience_id}
        if self.member_status is not None:
            about["Status"] = self.member_status
        rows = [{**about, key: people[place].id} for place in taken]
        members = yield from self.write(
            "insert", "CampaignMember", rows, key, fine="Already a campaign member"
        )
        if members and all(each.code in NO_CAMPAIGN for each in members):
            raise Refused(f"Salesforce has no campaign '{records.audience_id}'. Fix its id in `audiences`.")
        return result_of([*enumerate(people), *zip(taken, members, strict=True)])

    def remove(self, records: Records) -> Flow:
        """Delete the memberships; people without one have already left."""
        by, campaign = f"{self.object}.{self.external_id_field}", literal(records.audience_id)
        found = yield from rows_by(
            self.call, (), "CampaignMember", by, self.names(records), f"CampaignId = {campaign}"
        )
        rows = {
            (place, row["Id"]): {"Id": row["Id"]}
            for place, name in enumerate(self.names(records))
            for row in found.get(same(name), ())
        }
        outcomes = yield from self.write(
            "delete", "CampaignMember", [*rows.values()], "Id", fine="ENTITY_IS_DELETED"
        )
        return result_of(zip((place for place, _ in rows), outcomes, strict=True))

    def insert(self, records: Records) -> Flow:
        by, there = self.external_id_field, (yield from self.people(records))
        rows = {
            place: self.row(record)
            for place, record in enumerate(records)
            if same(record.identifiers[by]) not in there
        }
        fine = f"duplicate value found: {by}"
        outcomes = yield from self.write("insert", self.object, [*rows.values()], by, fine=fine)
        return result_of(zip(rows, outcomes, strict=True))

    def change(self, records: Records) -> Flow:
        found, missing = yield from self.found(records, records.set_if_empty)
        rows = {
            place: {"Id": row["Id"], **unless_set(records.records[place].fields, records.set_if_empty, row)}
            for place, row in found.items()
        }
        outcomes = yield from self.write("update", self.object, [*rows.values()], "Id")
        return result_of([*zip(rows, outcomes, strict=True), *missing])

    def delete(self, records: Records) -> Flow:
        """Delete every record with the external id; unknown people count as deleted. Without `hard_delete`,
        they can be restored from the recycle bin for 15 days."""
        there = yield from self.people(records)
        rows = {
            row["Id"]: place
            for place, name in enumerate(self.names(records))
            for row in there.get(same(name), ())
        }
        operation = "hardDelete" if self.hard_delete else "delete"
        outcomes = yield from self.write(
            operation, self.object, [{"Id": each} for each in rows], "Id", fine="ENTITY_IS_DELETED"
        )
        return result_of(zip(rows.values(), outcomes, strict=True))

    def track(self, records: Records) -> Flow:
        """Create a completed task per person; properties without a task field go into its description. With
        `task_external_id_field`, retries don't create duplicates."""
        found, missing = yield from self.found(records)
        whose = "WhoId" if self.object in ("Lead", "Contact") else "WhatId"
        own = self.task_external_id_field
        rows = {}
        for place, row in found.items():
            record = records.records[place]
            day = (record.timestamp or records.at or "")[:10]
            event = records.event_of(record)
            about = {"Subject": subject(event), "Status": "Completed", "ActivityDate": day}
            fields = {**record.fields}
            if fields.pop("audience_key", None) is not None:
                # Audience changes are named in the subject: tasks have no field with the audience's name.
                del fields[records.audience]
                about["Subject"] = subject(f"{event}: {records.audience}")
            set_here = {whose: row["Id"], **({own: records.change_id(record)} if own else {})}
            rows[place] = {**about, **task_fields(fields, records.kinds, set_here), **set_here}
        operation = "upsert" if own else "insert"
        outcomes = yield from self.write(operation, "Task", [*rows.values()], own)
        return result_of([*zip(rows, outcomes, strict=True), *missing])

    def find_audience(self, audience: str) -> Asking[str | None]:
        text = select(["Id"], "Campaign", f"Name = {literal(audience)} ORDER BY CreatedDate LIMIT 1")
        found = yield self.call("GET", "query", asked={"q": text})
        return next((str(row["Id"]) for row in found.json()["records"]), None)

    def create_audience(self, audience: str) -> Asking[str]:
        made = yield self.call("POST", "sobjects/Campaign", json={"Name": audience, "IsActive": True})
        return str(made.json()["id"])
