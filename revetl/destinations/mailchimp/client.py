"""Mailchimp's API, and its format of members: docs/destinations/mailchimp.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.basic import basic
from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Disposition,
    Identifier,
    Record,
    Records,
    object_of,
)

LESS = frozenset({"unsubscribed", "cleaned"})
"""The statuses that may be set for existing members."""
OWN = frozenset({"status", "language", "vip", "email_type"})


class MailchimpApi(SignsIn, HasAudiences):
    """An audience of Mailchimp, called a list in its API. A revetl audience is a tag in it."""

    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("email_address", column="email", normalised="email"),
    )

    api_key: SecretStr | None = None
    access_token: SecretStr | None = None
    server: str | None = None
    list_id: str
    base_url: Annotated[str, Field(pattern="^https?://")]

    @model_validator(mode="before")
    @classmethod
    def _address(cls, data: Any) -> Any:
        """Return the host of the data center: `server`, or the suffix of the key."""
        given = dict(data)
        server = given.get("server") or str(given.get("api_key") or "").rpartition("-")[2]
        if server and "base_url" not in given:
            given["base_url"] = f"https://{server}.api.mailchimp.com"
        return given

    @model_validator(mode="after")
    def _has_credentials(self) -> MailchimpApi:
        if self.api_key is None and self.access_token is None and self.sign_in is None:
            raise ValueError("Set api_key, or access_token with server, or sign_in.")
        return self

    def headers(self) -> dict[str, str]:
        if self.api_key is not None:
            return {"Authorization": basic("anystring", self.api_key.get_secret_value())}
        token = self.access_token
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    @property
    def list_path(self) -> str:
        """Return the path of the list."""
        return f"/3.0/lists/{self.list_id}"

    def member(self, method: str, record: Record, json: Any = None, *, action: str = "") -> httpx.Request:
        """Build a request about one member, identified by the hash of their email address."""
        address = str(record.identifiers["email_address"]).lower()
        hashed = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
        return self.request(method, f"{self.list_path}/members/{hashed}{action}", json=json)

    def judge(self, response: httpx.Response) -> Disposition:
        # Errors of a single member are handled by the flow.
        if response.status_code in (400, 404) and "/members/" in response.request.url.path:
            return Disposition.PASS
        # Mailchimp's own 403 has a body; a 403 for too many requests has none.
        if response.status_code == 403 and not object_of(response):
            return Disposition.LIMITED
        return super().judge(response)

    def probe(self) -> httpx.Request:
        return self.request("GET", f"{self.list_path}?fields=id,name")

    def find_audience(self, audience: str) -> Asking[str | None]:
        offset, total = 0, 1
        while offset < total:
            asked = f"type=static&fields=segments.id,segments.name,total_items&count=1000&offset={offset}"
            answer = yield self.request("GET", f"{self.list_path}/segments?{asked}")
            page = answer.json()
            for each in page["segments"]:
                if each["name"] == audience:
                    return str(each["id"])
            offset, total = offset + 1_000, int(page.get("total_items") or 0)
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.post(f"{self.list_path}/segments", json={"name": audience, "static_segment": []})
        return str(answer.json()["id"])


def member_of(record: Record, records: Records) -> dict[str, Any]:
    """Return a member without a status, unless the mapped status is less than subscribed."""
    own = {name: value for name, value in record.fields.items() if name in OWN and value is not None}
    if own.get("status") not in LESS:
        own.pop("status", None)
    merge = {
        records.fields.get(name, name): merge_value(value)
        for name, value in record.fields.items()
        if name not in OWN
    }
    return {**record.identifiers, **own, **({"merge_fields": merge} if merge else {})}


def merge_value(value: Any) -> Any:
    """Convert to a merge field value: an empty text clears a field."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def same(address: Any) -> str:
    """Normalize an email address for comparison; errors may quote it."""
    return str(address).strip().strip("\"'").lower()


def why(problem: Mapping[str, Any]) -> str:
    """Format a problem document (RFC 7807)."""
    errors = ", ".join(f"{each.get('field')}: {each.get('message')}" for each in problem.get("errors") or ())
    return ". ".join(filter(None, (problem.get("title"), problem.get("detail"), errors))) or "refused"
