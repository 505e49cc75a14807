"""Records of one HubSpot object, looked up by a unique property, 100 per request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Disposition,
    Identifier,
    Records,
    object_of,
)
from revetl.destinations.base.field_check import (
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
    TEXT,
)
from revetl.destinations.hubspot.batch import (
    ADDITIONAL,
    BatchAnswer,
    answered,
    records_by,
    same,
    value_of,
)

_DAY = 86_400.0
_KINDS = {"number": NUMBER, "bool": BOOLEAN, "date": DATE, "datetime": MOMENT}

STANDARD = {
    "contacts": (
        Attribute("email", "email"),
        Attribute("firstname", "first_name"),
        Attribute("lastname", "last_name"),
        *(Attribute(name, name) for name in ("phone", "company", "city", "state", "country")),
        Attribute("zip", "postal_code"),
    ),
    "companies": (Attribute("name", "company"), Attribute("domain", "company_domain")),
}
"""HubSpot's default properties of its standard objects; custom properties exist only in the account."""


class HubSpotObject(SignsIn, HasAudiences):
    """An object of an account, and requests for its records."""

    needed_credentials: ClassVar[tuple[str, ...]] = ("access_token",)

    access_token: SecretStr | None = None
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://api.hubapi.com"
    object_type: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")] = "contacts"
    id_property: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")] = "email"

    @model_validator(mode="after")
    def _is_found_by(self) -> HubSpotObject:
        if self.object_type != "contacts" and self.id_property == "email":
            raise ValueError(f"id_property: {self.object_type} have no email; set it to a unique property")
        return self

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        if self.id_property == "email":
            return self.identifiers
        return (Identifier(self.id_property, column="user_id"),)

    @property
    def declared(self) -> tuple[Attribute, ...]:
        return STANDARD.get(self.object_type, ())

    def headers(self) -> dict[str, str]:
        token = self.access_token
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    def probe(self) -> httpx.Request:
        return self.request("GET", f"/crm/v3/properties/{self.object_type}/{self.id_property}")

    def judge(self, response: httpx.Response) -> Disposition:
        """Distinguish 404 responses: a missing list or record has one, and so does a wrong URL."""
        path = response.request.url.path
        if response.status_code == 404 and "/crm/v3/lists/object-type-id/" in path:
            return Disposition.PASS
        if response.status_code == 404 and "/batch/" in path and object_of(response).get("category"):
            return Disposition.BISECT
        return super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        headers = response.headers
        if response.status_code == 429 and object_of(response).get("policyName") == "DAILY":
            return _DAY
        if headers.get("x-hubspot-ratelimit-remaining") == "0":
            return float(headers.get("x-hubspot-ratelimit-interval-milliseconds", "10000")) / 1_000
        return None

    def names(self, records: Records) -> list[str]:
        """Return the lookup value of each record."""
        return [str(record.identifiers[self.id_property]) for record in records]

    def batched(self, verb: str, body: Mapping[str, Any]) -> httpx.Request:
        """Build a request for several records."""
        return self.post(f"/crm/v3/objects/{self.object_type}/batch/{verb}", json=body)

    def there(self, records: Records, fields: Collection[str] = ()) -> Asking[dict[str, Mapping[str, Any]]]:
        """Read existing records, with some of their properties, indexed by lookup value (`same`)."""
        also = (ADDITIONAL,) if self.id_property == "email" else ()
        asked = {
            "idProperty": self.id_property,
            "properties": [self.id_property, *also, *fields],
            "inputs": [{"id": name} for name in self.names(records)],
        }
        answer = yield self.batched("read", asked)
        return records_by(answer.json()["results"], self.id_property)

    def put(self, records: Records, verb: str = "upsert") -> Asking[BatchAnswer]:
        """Create or update a batch, without overwriting values of `set_if_empty` fields."""
        there: dict[str, Mapping[str, Any]] = {}
        if records.set_if_empty:
            there = yield from self.there(records, records.set_if_empty)
        return (yield from self.write(verb, records, range(len(records)), there))

    def write(
        self, verb: str, records: Records, places: Iterable[int], there: Mapping[str, Mapping[str, Any]]
    ) -> Asking[BatchAnswer]:
        """Upsert, create or update the records at some positions; values in `there` are not overwritten."""
        names, inputs = self.names(records), []
        chosen = {place: names[place] for place in places}
        for place, name in chosen.items():
            held = there.get(same(name), {}).get("properties", {})
            properties = {
                field: value_of(value)
                for field, value in records.records[place].fields.items()
                if field not in records.set_if_empty or held.get(field) in (None, "")
            }
            # With a trace id in each input, a rejected record doesn't fail the others.
            whose = {"objectWriteTraceId": str(place)}
            if verb == "create":
                inputs.append({**whose, "properties": {self.id_property: name, **properties}})
            else:
                inputs.append({**whose, "idProperty": self.id_property, "id": name, "properties": properties})
        answer = yield self.batched(verb, {"inputs": inputs})
        return answered(answer, chosen, self.id_property)


def kinds_of(properties: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """Return the writable properties with their value types."""
    return {
        each["name"]: _KINDS.get(each["type"], TEXT)
        for each in properties
        if not (each.get("calculated") or (each.get("modificationMetadata") or {}).get("readOnlyValue"))
    }
