"""Customer.io's APIs and authentication: docs/destinations/customer_io.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import httpx
import orjson
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.basic import basic
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Records,
    Refused,
    Rejection,
    object_of,
)
from revetl.destinations.base.records import refusal

HOSTS = {
    "us": ("https://track.customer.io", "https://api.customer.io"),
    "eu": ("https://track-eu.customer.io", "https://api-eu.customer.io"),
}


class CustomerIoApi(HasAudiences):
    """A Customer.io workspace: the Track API for people, and the App API for segments."""

    site_id: str
    api_key: SecretStr
    app_api_key: SecretStr | None = None
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")]
    app_url: Annotated[str, Field(pattern="^https?://")]

    @model_validator(mode="before")
    @classmethod
    def _addresses(cls, data: Any) -> Any:
        """Default to the hosts of the region."""
        given = dict(data)
        given["region"] = str(given.get("region", "us")).lower()
        track, app = HOSTS.get(given["region"], HOSTS["us"])
        return {"base_url": track, "app_url": app, **given}

    def headers(self) -> dict[str, str]:
        return {"Authorization": basic(self.site_id, self.api_key.get_secret_value())}

    def app(self, method: str, path: str, json: Any = None) -> httpx.Request:
        """Build a request to the App API, which has its own key and host."""
        if self.app_api_key is None:
            raise Refused(
                "Customer.io needs app_api_key to find and create segments. "
                "Set it, or set the segment's id in audiences."
            )
        headers = {"Authorization": f"Bearer {self.app_api_key.get_secret_value()}"}
        said = {} if json is None else {"Content-Type": "application/json"}
        content = None if json is None else orjson.dumps(json)
        return httpx.Request(
            method, self.app_url.rstrip("/") + path, headers={**headers, **said}, content=content
        )

    def send(self, told: list[tuple[int, dict[str, Any]]]) -> Asking[dict[int, Rejection]]:
        """Send objects, each with the position of its record. An error has the index of its object."""
        answer = yield self.post("/api/v2/batch", json={"batch": [each for _, each in told]})
        return {
            told[error["batch_index"]][0]: refusal(
                ": ".join(filter(None, (error.get("reason"), error.get("message")))) or "refused",
                error.get("field"),
            )
            for error in object_of(answer).get("errors") or ()
        }

    def segment(self, verb: str, records: Records, kind: str, ids: list[str]) -> httpx.Request:
        """Build the request that adds people with one type of id to the segment, or removes them."""
        path = f"/api/v1/segments/{records.audience_id}/{verb}?id_type={kind}"
        return self.post(path, json={"ids": ids})

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.app("GET", "/v1/segments")
        for each in answer.json()["segments"]:
            if each["name"] == audience:
                if each.get("type") == "dynamic":
                    raise Refused(
                        f"Customer.io: segment '{audience}' is data-driven, so it cannot be edited. "
                        "Rename the audience, or set the id of a manual segment in audiences."
                    )
                return str(each["id"])
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.app("POST", "/v1/segments", {"segment": {"name": audience}})
        return str(answer.json()["segment"]["id"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/api/v1/accounts/region")
