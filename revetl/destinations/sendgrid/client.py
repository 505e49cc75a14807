"""SendGrid's API, and its format of contacts: docs/destinations/sendgrid.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Disposition,
    Identifier,
    Records,
)
from revetl.destinations.base.flow import poll
from revetl.destinations.base.large_answers import large, lines_of
from revetl.destinations.sendgrid.contacts import Contact, pieces

HOSTS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
CONTACTS = "/v3/marketing/contacts"
ENDED = frozenset({"completed", "errored", "failed"})
AT_ONCE = 100
"""The maximum contacts per search; more ids would also make URLs too long."""


class SendGridApi(HasAudiences):
    """A SendGrid account or subuser."""

    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("email", column="email", normalised="email"),
        Identifier("phone_number_id", column="phone", normalised="e164"),
        Identifier("external_id", column="user_id"),
        Identifier("anonymous_id", column="anonymous_id"),
    )

    api_key: SecretStr
    region: Literal["global", "eu"] = "global"
    on_behalf_of: str | None = None
    base_url: Annotated[str, Field(pattern="^https?://")]

    @model_validator(mode="before")
    @classmethod
    def _address(cls, data: Any) -> Any:
        """Default to the host of the region."""
        return {"base_url": HOSTS.get(data.get("region"), HOSTS["global"]), **data}

    def headers(self) -> dict[str, str]:
        signed = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        return {**signed, "on-behalf-of": self.on_behalf_of} if self.on_behalf_of else signed

    def judge(self, response: httpx.Response) -> Disposition:
        status, request = response.status_code, response.request
        # Invalid contacts, handled by the flow.
        if status == 400 and request.method == "PUT":
            return Disposition.PASS
        # Nobody found, a job that is too new, or a deleted error file.
        parts = request.url.path.split("/")
        if status == 404 and not {"search", "imports"}.isdisjoint(parts):
            return Disposition.PASS
        if status < 500 and request.url.host != httpx.URL(self.base_url).host:
            return Disposition.PASS
        return super().judge(response)

    def probe(self) -> httpx.Request:
        return self.request("GET", "/v3/marketing/field_definitions")

    def job(self, job_id: str) -> Asking[dict[str, Any]]:
        """Wait for a job and return its outcome."""
        path = f"{CONTACTS}/imports/{job_id}"
        answer = yield from poll(
            lambda: self.request("GET", path),
            lambda said: said.status_code == 200 and said.json()["status"] in ENDED,
        )
        found: dict[str, Any] = answer.json()
        return found

    def errors(self, url: str | None) -> Asking[Iterator[str]]:
        """Read the lines of a job's error file, which name rejected contacts."""
        if not url:
            return iter(())
        # Usually a signed URL of an object store, which must not receive the key.
        is_own = httpx.URL(url).host == httpx.URL(self.base_url).host
        answer = yield large(httpx.Request("GET", url, headers=self.headers() if is_own else {}))
        return lines_of(answer) if answer.status_code == 200 else iter(())

    def there(self, records: Records) -> Asking[dict[int, Contact]]:
        """Read existing contacts, indexed by the position of their record, with custom fields by id."""
        called: dict[str, list[tuple[int, str]]] = {}
        for at, record in enumerate(records):
            kind = next(each.name for each in self.identifiers if each.name in record.identifiers)
            called.setdefault(kind, []).append((at, str(record.identifiers[kind])))
        found: dict[int, Contact] = {}
        for kind, names in called.items():
            path, key = ("emails", "emails") if kind == "email" else (f"identifiers/{kind}", "identifiers")
            for some in pieces(names, AT_ONCE):
                answer = yield self.post(f"{CONTACTS}/search/{path}", json={key: [name for _, name in some]})
                held = answer.json()["result"] if answer.status_code == 200 else {}
                for at, name in some:
                    if contact := held.get(name, {}).get("contact"):
                        own = contact.get("custom_fields") or {}
                        ids = {known: own.get(name) for name, known in records.fields.items()}
                        found[at] = {**contact, **ids}
        return found

    def find_audience(self, audience: str) -> Asking[str | None]:
        path = "/v3/marketing/lists?page_size=1000"
        while path:
            answer = yield self.request("GET", path)
            page = answer.json()
            for each in page["result"]:
                if each["name"] == audience:
                    return str(each["id"])
            following = httpx.URL((page.get("_metadata") or {}).get("next") or "")
            token = following.params.get("page_token")
            path = f"/v3/marketing/lists?page_size=1000&page_token={token}" if token else ""
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.post("/v3/marketing/lists", json={"name": audience})
        return str(answer.json()["id"])
