"""An Intercom workspace: endpoint, tags and data attributes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AliasChoices, SecretStr, model_validator
from pydantic import Field as Checks

from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.destination import Asking, Disposition, object_of
from revetl.destinations.base.per_person import Field, PersonByPerson
from revetl.destinations.intercom.contact import attributes_of

HOSTS = {
    "us": "https://api.intercom.io",
    "eu": "https://api.eu.intercom.io",
    "au": "https://api.au.intercom.io",
}


class IntercomWorkspace(SignsIn, PersonByPerson):
    """Configuration of a workspace, and requests that don't concern a contact."""

    needed_credentials: ClassVar[tuple[str, ...]] = ("access_token",)

    access_token: Annotated[
        SecretStr | None, Checks(validation_alias=AliasChoices("access_token", "api_key"))
    ] = None
    region: Literal["us", "eu", "au"] = "us"
    api_version: str = "2.14"
    role: Literal["user", "lead"] = "user"
    erasure: Literal["delete", "archive"] = "delete"
    audience_field: Literal["tags"] = "tags"
    base_url: Annotated[str, Checks(pattern="^https?://")] = ""

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": HOSTS.get(data.get("region", "us"), HOSTS["us"]), **data}

    def headers(self) -> dict[str, str]:
        version = {"Intercom-Version": self.api_version}
        if self.access_token is None:
            return version
        return {"Authorization": f"Bearer {self.access_token.get_secret_value()}", **version}

    def fields_there(self) -> Asking[dict[str, Field]]:
        answer = yield self.request("GET", "/data_attributes", params={"model": "contact"})
        return attributes_of(answer.json()["data"])

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.request("GET", "/tags")
        return next((str(tag["id"]) for tag in answer.json()["data"] if tag["name"] == audience), None)

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.post("/tags", json={"name": audience})
        return str(answer.json()["id"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/me")

    def judge(self, response: httpx.Response) -> Disposition:
        """Removing an unknown contact succeeds, updating one fails; a conflict response names the existing
        contact."""
        method, path = response.request.method, response.request.url.path
        if response.status_code == 409 and method == "POST" and path.endswith("/contacts"):
            return Disposition.PASS
        if response.status_code == 404 and object_of(response).get("type") == "error.list":
            return Disposition.PASS if method == "DELETE" or path.endswith("/archive") else Disposition.BISECT
        return super().judge(response)
