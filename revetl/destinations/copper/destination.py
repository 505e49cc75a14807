"""Copper's people, tags and activities: docs/destinations/copper.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AliasChoices, SecretStr
from pydantic import Field as Checks

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
    Result,
)
from revetl.destinations.base.per_person import Field, Person, PersonByPerson
from revetl.destinations.base.spec import looked_up_by
from revetl.destinations.copper.person import (
    ADDRESS,
    KINDS,
    LISTS,
    PLAIN,
    body,
    flat,
)

FIND = "/people/fetch_by_email"

UNDERSTOOD = (
    SuccessShape("DELETE /people/*", {"id": int}),
    SuccessShape("POST /people/fetch_by_email", {"id": int}),
    SuccessShape("POST /people/search", [{"id": int}]),
    SuccessShape("PUT /people/*", {"id": int}),
    SuccessShape("POST /activities", {"id": int}, again=False),
    SuccessShape("GET /custom_field_definitions", [{"id": int, "name": str}]),
    SuccessShape("GET /account", {"id": int}),
)


class Copper(PersonByPerson):
    """People of Copper by email or a custom field; an audience is a tag with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    rate: ClassVar[RateLimit | None] = RateLimit(requests=180, per_seconds=60)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "lookup_field"
    known_fields: ClassVar[tuple[Attribute, ...]] = tuple(
        Attribute(name, name, required=name == "name") for name in (*PLAIN, *LISTS, *ADDRESS)
    )
    container_fields: ClassVar[tuple[str, ...]] = ("audience_field",)

    type: Literal["copper"]
    access_token: Annotated[SecretStr, Checks(validation_alias=AliasChoices("access_token", "api_key"))]
    user_email: str
    application: str = "developer_api"
    lookup_field: Annotated[str, Checks(pattern="^(email|[0-9]+)$")] = "email"
    audience_field: Literal["tags"] = "tags"
    activity_type_id: int = 0
    base_url: Annotated[str, Checks(pattern="^https?://")] = "https://api.copper.com/developer_api/v1"

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.lookup_field, self.identifiers)

    def headers(self) -> dict[str, str]:
        token = self.access_token.get_secret_value()
        return {
            "X-PW-AccessToken": token,
            "X-PW-Application": self.application,
            "X-PW-UserEmail": self.user_email,
        }

    def upsert(self, records: Records) -> Flow:
        (record,) = records.records
        if records.set_if_empty or not record.fields.get("name"):
            # Search first: only new people may be named after their email.
            result = yield from self.save(records)
            return result
        yield self.created(record, records.fields_over(record, {}))
        return Result()

    def search(self, record: Record) -> Asking[list[Person]]:
        value = record.identifiers[self.lookup_field]
        if self.lookup_field == "email":
            answer = yield self.post(FIND, json={"email": value})
            return [flat(answer.json())] if answer.status_code == 200 else []
        own = {"custom_field_definition_id": int(self.lookup_field), "value": value}
        answer = yield self.post("/people/search", json={"custom_fields": [own]})
        return [flat(person) for person in answer.json()]

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        value = record.identifiers[self.lookup_field]
        name = {"name": fields.get("name") or str(value)}
        match: dict[str, Any] = {"field_name": "email", "field_value": value}
        if self.lookup_field != "email":
            own = {"custom_field_definition_id": int(self.lookup_field), "value": value}
            match = {"field_name": "custom", "field_value": own}
        properties = body({**fields, **record.identifiers, **name})
        return self.request("PUT", "/people/upsert", json={"properties": properties, "match": match})

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        return self.request("PUT", f"/people/{person['id']}", json=body(fields))

    def deleted(self, person: Person) -> httpx.Request:
        return self.request("DELETE", f"/people/{person['id']}")

    def delete(self, records: Records) -> Flow:
        return self.delete_found(records)

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        """Return an activity of a user type, a note by default, with the properties as its text."""
        moment = datetime.fromisoformat(str(record.timestamp or records.at))
        told = [f"{name}: {value}" for name, value in record.fields.items() if value is not None]
        about = {
            "parent": {"type": "person", "id": person["id"]},
            "type": {"category": "user", "id": self.activity_type_id},
            "details": "\n".join((records.event_of(record), *told)),
            "activity_date": int(moment.timestamp()),
        }
        return self.post("/activities", json=about)

    def fields_there(self) -> Asking[dict[str, Field]]:
        answer = yield self.request("GET", "/custom_field_definitions")
        return {
            name: Field(str(each["id"]), KINDS.get(each["data_type"]))
            for each in answer.json()
            if "person" in each["available_on"]
            for name in (each["name"], str(each["id"]))
        }

    def find_audience(self, audience: str) -> Asking[str | None]:
        # A tag exists as soon as somebody has it.
        return audience
        yield

    def create_audience(self, audience: str) -> Asking[str]:
        return audience
        yield

    def probe(self) -> httpx.Request:
        return self.request("GET", "/account")

    def judge(self, response: httpx.Response) -> Disposition:
        """A 404 means that the person doesn't exist: not found, or deleted meanwhile."""
        if response.status_code == 404:
            request = response.request
            is_done = request.method == "DELETE" or request.url.path.endswith(FIND)
            return Disposition.PASS if is_done else Disposition.BISECT
        return super().judge(response)
