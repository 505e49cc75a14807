"""Pipedrive's persons, labels and activities: docs/destinations/pipedrive.md."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import httpx

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Record,
    Records,
    Refused,
)
from revetl.destinations.base.field_check import (
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
    TEXT,
    TIME,
)
from revetl.destinations.base.per_person import Field, Person
from revetl.destinations.base.spec import looked_up_by
from revetl.destinations.pipedrive.client import PipedriveApi

KINDS = {
    **dict.fromkeys(("int", "double"), NUMBER),
    "date": DATE,
    "time": TIME,
    **dict.fromkeys(("varchar", "varchar_auto", "text", "phone"), TEXT),
    "boolean": BOOLEAN,
}
LISTS = {"email": "emails", "phone": "phones"}
LABELS = "label_ids"

UNDERSTOOD = (
    SuccessShape("DELETE /api/v2/persons/*", {"success": True, "data": {"id": int}}),
    SuccessShape("GET /api/v2/persons/search", {"success": True, "data": {"items": [{"item": {"id": int}}]}}),
    SuccessShape("GET /api/v2/itemSearch/field", {"success": True, "data": [{"id": int}]}),
    SuccessShape("GET /api/v2/personFields", {"success": True, "data": [{"field_code": str}]}),
    SuccessShape("POST /api/v2/personFields/*", {"success": True, "data": [{"id": int}]}, again=False),
    SuccessShape("GET /api/v2/persons/*", {"success": True, "data": {"id": int}}),
    SuccessShape("PATCH /api/v2/persons/*", {"success": True, "data": {"id": int}}),
    SuccessShape("POST /api/v2/*", {"success": True, "data": {"id": int}}, again=False),
)


class Pipedrive(PipedriveApi):
    """Persons of Pipedrive by email or a custom field; an audience is a label with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    rate: ClassVar[RateLimit | None] = RateLimit(requests=20, per_seconds=2)
    statuses: ClassVar[Mapping[int, Disposition]] = {404: Disposition.BISECT}
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "lookup_field"
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("name", "name", required=True),
        *(Attribute(name, name) for name in ("email", "phone", "owner_id", "org_id", "visible_to")),
        Attribute("marketing_status", "marketing_status"),
        Attribute("add_time", "add_time", MOMENT),
    )
    container_fields: ClassVar[tuple[str, ...]] = ("audience_field",)

    type: Literal["pipedrive"]
    lookup_field: str = "email"
    audience_field: str = LABELS
    activity_type: str = "task"

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.lookup_field, self.identifiers)

    def search(self, record: Record) -> Asking[list[Person]]:
        term = str(record.identifiers[self.lookup_field])
        if self.lookup_field == "email":
            asked = {"term": term, "fields": "email", "exact_match": "true"}
            answer = yield self.request("GET", "/api/v2/persons/search", params=asked)
            return [each["item"] for each in answer.json()["data"]["items"]]
        asked = {"term": term, "entity_type": "person", "field": self.lookup_field, "match": "exact"}
        answer = yield self.request("GET", "/api/v2/itemSearch/field", params=asked)
        return list(answer.json()["data"])

    def whole(self, person: Person) -> Asking[Person]:
        answer = yield self.request("GET", f"/api/v2/persons/{person['id']}")
        held = answer.json()["data"]
        lists = {name: held.get(there) for name, there in LISTS.items()}
        return {**held, **lists, **(held.get("custom_fields") or {})}

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        # Persons must have a name in Pipedrive.
        name = {"name": fields.get("name") or str(record.identifiers[self.lookup_field])}
        return self.post("/api/v2/persons", json=self.body({**fields, **record.identifiers, **name}))

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        return self.request("PATCH", f"/api/v2/persons/{person['id']}", json=self.body(fields))

    def body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Convert fields to a person's format: contact details as lists, custom fields by code in an
        object."""
        known = {LABELS, *(each.name for each in self.known_fields)}
        body = {name: value for name, value in fields.items() if name in known - LISTS.keys()}
        for name in LISTS.keys() & fields.keys():
            value = fields[name]
            body[LISTS[name]] = [] if value is None else [{"value": value, "primary": True}]
        own = {name: value for name, value in fields.items() if name not in known}
        return {**body, "custom_fields": own} if own else body

    def deleted(self, person: Person) -> httpx.Request:
        return self.request("DELETE", f"/api/v2/persons/{person['id']}")

    def delete(self, records: Records) -> Flow:
        return self.delete_found(records)

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        """Return a completed activity, with the event's properties as its note."""
        told = [f"{name}: {value}" for name, value in record.fields.items() if value is not None]
        moment = str(record.timestamp or records.at)
        about = {
            "subject": records.event_of(record),
            "type": self.activity_type,
            "done": True,
            "due_date": moment[:10],
            "due_time": moment[11:16],
            "participants": [{"person_id": person["id"], "primary": True}],
            "note": "<br>".join(html.escape(line, quote=False) for line in told),
        }
        return self.post("/api/v2/activities", json=about)

    def listed(self, records: Records) -> int | str:
        made = records.audience_id
        return int(made) if made.isdecimal() else made

    def described(self) -> Asking[list[dict[str, Any]]]:
        """Read all person fields of this account."""
        asked = {"limit": "500"}
        found: list[dict[str, Any]] = []
        while True:
            answer = yield self.request("GET", "/api/v2/personFields", params=asked)
            page = answer.json()
            found += page["data"]
            if not (cursor := (page.get("additional_data") or {}).get("next_cursor")):
                return found
            asked["cursor"] = cursor

    def fields_there(self) -> Asking[dict[str, Field]]:
        described = yield from self.described()
        own = [each for each in described if each["is_custom_field"]]
        return {
            each[name]: Field(each["field_code"], KINDS.get(each["field_type"]))
            for name in ("field_name", "field_code")
            for each in own
        }

    def find_audience(self, audience: str) -> Asking[str | None]:
        described = yield from self.described()
        options = [each["options"] or [] for each in described if each["field_code"] == self.audience_field]
        if not options:
            raise Refused(f"Pipedrive has no person field '{self.audience_field}'. Set audience_field.")
        return next((str(each["id"]) for each in options[0] if each["label"] == audience), None)

    def create_audience(self, audience: str) -> Asking[str]:
        if self.audience_field == LABELS:
            raise Refused(
                f"Pipedrive has no person label '{audience}', and its API cannot create one. Create it "
                "there, or set audience_field to the code of a multiple-option field."
            )
        path = f"/api/v2/personFields/{self.audience_field}/options"
        answer = yield self.post(path, json=[{"label": audience}])
        return str(answer.json()["data"][0]["id"])

    def judge(self, response: httpx.Response) -> Disposition:
        """Somebody who was deleted meanwhile is deleted."""
        if response.status_code == 404 and response.request.method == "DELETE":
            return Disposition.PASS
        return super().judge(response)

    def probe(self) -> httpx.Request:
        return self.request("GET", "/api/v2/personFields", params={"limit": "1"})
