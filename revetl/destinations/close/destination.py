"""Close's contacts and their leads: docs/destinations/close.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import BeforeValidator, SecretStr
from pydantic import Field as Checks

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Disposition,
    Flow,
    Identifier,
    Record,
    Records,
    Refused,
)
from revetl.destinations.base.field_check import (
    DATE,
    MOMENT,
    NUMBER,
    TEXT,
)
from revetl.destinations.base.per_person import Field, Person, PersonByPerson
from revetl.destinations.base.spec import looked_up_by

KINDS = {
    "date": DATE,
    "datetime": MOMENT,
    **dict.fromkeys(("text", "textarea", "hidden"), TEXT),
    "number": NUMBER,
}
LISTS = {"email": "emails", "phone": "phones"}
LEAD_NAME = "lead_name"

UNDERSTOOD = (
    SuccessShape("DELETE /contact/*", dict),
    SuccessShape("POST /data/search/", {"data": [{"id": str}]}),
    SuccessShape("POST /contact/", {"id": str}, again=False),
    SuccessShape("POST /lead/", {"id": str}, again=False),
    SuccessShape("POST /activity/*", {"id": str}, again=False),
    SuccessShape("GET /custom_field_schema/contact/", {"fields": [{"id": str, "name": str}]}),
    SuccessShape("PUT /custom_field/contact/*", {"id": str}),
    SuccessShape("GET /contact/*", {"id": str}),
    SuccessShape("PUT /contact/*", {"id": str}),
)


class Close(PersonByPerson):
    """Contacts of Close by email or a custom field. An audience is a choice of a multiple-choice contact
    field. A new contact gets its own lead."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    statuses: ClassVar[Mapping[int, Disposition]] = {404: Disposition.BISECT}
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "lookup_field"
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        *(Attribute(name, name) for name in ("name", "title", "email", "phone")),
        Attribute(LEAD_NAME, "company"),
    )
    joins_alone: ClassVar[bool] = True
    container_fields: ClassVar[tuple[str, ...]] = ("audience_field",)

    type: Literal["close"]
    api_key: SecretStr
    lookup_field: Annotated[str, BeforeValidator(lambda given: str(given).removeprefix("custom."))] = "email"
    audience_field: Annotated[
        str, BeforeValidator(lambda given: "custom." + str(given).removeprefix("custom."))
    ] = ""
    activity_types: Mapping[str, str] = {}
    base_url: Annotated[str, Checks(pattern="^https?://")] = "https://api.close.com/api/v1"

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.lookup_field, self.identifiers)

    def auth(self) -> httpx.Auth:
        return httpx.BasicAuth(self.api_key.get_secret_value(), "")

    def search(self, record: Record) -> Asking[list[Person]]:
        value = {"type": "text", "mode": "exact_value", "value": str(record.identifiers[self.lookup_field])}
        if self.lookup_field == "email":
            email = {"type": "regular_field", "object_type": "contact_email", "field_name": "email"}
            query: dict[str, Any] = {
                "type": "has_related",
                "this_object_type": "contact",
                "related_object_type": "contact_email",
                "related_query": {"type": "field_condition", "field": email, "condition": value},
            }
        else:
            own = {"type": "custom_field", "custom_field_id": self.lookup_field}
            query = {"type": "field_condition", "field": own, "condition": value}
        contacts = {"type": "object_type", "object_type": "contact"}
        asked = {
            "query": {"type": "and", "queries": [contacts, query]},
            "_fields": {"contact": ["id", "lead_id"]},
        }
        answer = yield self.post("/data/search/", json=asked)
        return list(answer.json()["data"])

    def whole(self, person: Person) -> Asking[Person]:
        answer = yield self.request("GET", f"/contact/{person['id']}/")
        held = answer.json()
        return {**held, **{name: held.get(there) for name, there in LISTS.items()}}

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        known = {
            "email" if name == "email" else f"custom.{name}": x for name, x in record.identifiers.items()
        }
        contact = self.body({**fields, **known})
        if lead := fields.get(LEAD_NAME):
            return self.post("/lead/", json={"name": lead, "contacts": [contact]})
        # Without a lead, Close creates one named after the contact.
        return self.post("/contact/", json=contact)

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        return self.request("PUT", f"/contact/{person['id']}/", json=self.body(fields))

    def body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Convert fields to a contact's format: emails and phones are lists; the lead's name isn't
        included."""
        body = {name: value for name, value in fields.items() if name not in {LEAD_NAME, *LISTS}}
        for name in LISTS.keys() & fields.keys():
            value = fields[name]
            body[LISTS[name]] = [] if value is None else [{name: value, "type": "office"}]
        return body

    def joining(self, person: Person, records: Records) -> dict[str, Any]:
        return {f"{self.audience_field}.add": self.listed(records)}

    def leaving(self, person: Person, records: Records) -> dict[str, Any]:
        return {f"{self.audience_field}.remove": self.listed(records)}

    def deleted(self, person: Person) -> httpx.Request:
        return self.request("DELETE", f"/contact/{person['id']}/")

    def delete(self, records: Records) -> Flow:
        return self.delete_found(records)

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        """Return a custom activity if the event has an activity type, else a note."""
        event, moment = records.event_of(record), record.timestamp or records.at
        about = {"lead_id": person["lead_id"]}
        if event in self.activity_types:
            kind = {"custom_activity_type_id": self.activity_types[event], "contact_id": person["id"]}
            return self.post(
                "/activity/custom/", json={**about, **kind, "activity_at": moment, **record.fields}
            )
        told = [f"{name}: {value}" for name, value in record.fields.items() if value is not None]
        return self.post("/activity/note/", json={**about, "note": "\n".join((f"{event} ({moment})", *told))})

    def fields_there(self) -> Asking[dict[str, Field]]:
        answer = yield self.probe()
        return {
            name: Field(f"custom.{each['id']}", KINDS.get(each["type"]))
            for each in answer.json()["fields"]
            for name in (each["name"], each["id"], f"custom.{each['id']}")
        }

    def choices(self) -> Asking[list[str]]:
        """Return the choices of the field that lists audiences."""
        answer = yield self.probe()
        for each in answer.json()["fields"]:
            if f"custom.{each['id']}" == self.audience_field and each.get("accepts_multiple_values"):
                return list(each.get("choices") or [])
        raise Refused("Set audience_field to the id (cf_…) of a multiple-choice contact field in Close.")

    def find_audience(self, audience: str) -> Asking[str | None]:
        choices = yield from self.choices()
        return audience if audience in choices else None

    def create_audience(self, audience: str) -> Asking[str]:
        choices = yield from self.choices()
        path = f"/custom_field/contact/{self.audience_field.removeprefix('custom.')}/"
        yield self.request("PUT", path, json={"choices": [*choices, audience]})
        return audience

    def judge(self, response: httpx.Response) -> Disposition:
        """Somebody who was deleted meanwhile is deleted."""
        if response.status_code == 404 and response.request.method == "DELETE":
            return Disposition.PASS
        return super().judge(response)

    def probe(self) -> httpx.Request:
        return self.request("GET", "/custom_field_schema/contact/")
