"""Pendo's Engage API: hosts, keys, and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AliasChoices, Field, SecretStr, model_validator

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import Disposition, object_of, verdict

HOSTS = {
    "us": "https://app.pendo.io",
    "us1": "https://us1.app.pendo.io",
    "eu": "https://app.eu.pendo.io",
    "jp": "https://app.jpn.pendo.io",
    "au": "https://app.au.pendo.io",
}
KEY = "x-pendo-integration-key"


class PendoApi(HasAudiences):
    """A Pendo subscription: an integration key, and for events the shared secret of an app's track events."""

    # A segment allows one write at a time: 'Operation in progress'.
    statuses: ClassVar[Mapping[int, Disposition]] = {409: Disposition.LIMITED}

    integration_key: SecretStr | None = None
    track_event_shared_secret: Annotated[
        SecretStr | None,
        Field(validation_alias=AliasChoices("track_event_shared_secret", "track_event_secret")),
    ] = None
    region: Literal["us", "us1", "eu", "jp", "au"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": HOSTS.get(data.get("region", "us"), HOSTS["us"]), **data}

    @model_validator(mode="after")
    def _has_key(self) -> PendoApi:
        if self.integration_key is None and self.track_event_shared_secret is None:
            raise ValueError("Set integration_key, or for events only, track_event_shared_secret.")
        return self

    def headers(self) -> dict[str, str]:
        return _key(self.integration_key or self.track_event_shared_secret)

    def event_headers(self) -> dict[str, str]:
        """Return the headers of track events, with their key."""
        return _key(self.track_event_shared_secret or self.integration_key)

    @property
    def can_probe(self) -> bool:
        return self.integration_key is not None

    def probe(self) -> httpx.Request:
        return self.request("GET", "/api/v1/token/verify")

    def judge(self, response: httpx.Response) -> Disposition:
        said = object_of(response)
        # Responses identify missing visitors, but not visitors with invalid values.
        if response.is_success and (said.get("failed") or 0) > len(said.get("missing") or []):
            return Disposition.BISECT
        operations = [each["status"] for each in said.get("multistatus") or []]
        return verdict(max([response.status_code, *operations]), self.statuses)


def _key(secret: SecretStr | None) -> dict[str, str]:
    return {} if secret is None else {KEY: secret.get_secret_value()}
