"""Google Ads Customer Match: docs/destinations/google_ads.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.refresh import RefreshesToken
from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.audiences import AdAudience, HasDescriptions, MatchCount
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Records,
    object_of,
)
from revetl.destinations.base.spec import IdentifierChoice
from revetl.destinations.google import data_manager, offline_jobs
from revetl.destinations.google.common import (
    ADDRESS,
    IDENTIFIERS,
    WAYS_OUT,
    AccountId,
    Api,
    Consent,
    Url,
    errors_in,
    is_over_soon,
    retry_delay,
)

UNDERSTOOD = (
    SuccessShape("POST /offlineUserDataJobs:create", {"resourceName": str}),
    SuccessShape("POST :addOperations", {"partialFailureError?": dict}),
    SuccessShape("POST :run", {"name": str}),
    SuccessShape("POST /googleAds:search", {"results?": [dict]}),
    SuccessShape("POST /userLists:mutate", {"results": [{"resourceName": str}]}, again=False),
    SuccessShape("POST /v1/audienceMembers:*", {"requestId": str}),
    SuccessShape("GET /userLists", {"userLists?": [{"id": (str, int)}]}),
    SuccessShape("POST /userLists", {"id": (str, int)}, again=False),
    SuccessShape("GET /userLists/*", {"sizeInfo?": dict, "description?": str}),
    SuccessShape("PATCH /userLists/*", {"id?": (str, int)}),
)


class GoogleAds(RefreshesToken, HasDescriptions, AdAudience):
    """Members of a Google Ads Customer Match list: by hashed email, phone and address, by your own ids, or by
    mobile advertising ids."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=50_000)
    smallest: ClassVar[int | None] = 100
    identifiers: ClassVar[tuple[Identifier, ...]] = IDENTIFIERS["CONTACT_INFO"]
    account_fields: ClassVar[tuple[str, ...]] = ("customer_id",)

    type: Literal["google_ads"]
    api: Literal["google_ads", "data_manager"] = "google_ads"
    developer_token: SecretStr | None = None
    customer_id: AccountId
    login_customer_id: AccountId | None = None
    upload_key_type: Literal["CONTACT_INFO", "CRM_ID", "MOBILE_ADVERTISING_ID"] = "CONTACT_INFO"
    app_id: str | None = None
    ad_user_data: Consent | None = None
    ad_personalization: Consent | None = None
    membership_life_span: Annotated[int, Field(ge=1, le=540)] = 540
    job_timeout: Annotated[float, Field(ge=0)] = 3_600.0
    version: Annotated[str, Field(pattern=r"^v\d+$")] = "v26"
    base_url: Url = "https://googleads.googleapis.com"
    token_url: Url = "https://oauth2.googleapis.com/token"  # noqa: S105
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 2

    @model_validator(mode="before")
    @classmethod
    def _endpoint(cls, data: Any) -> Any:
        """Default to the host of the selected API."""
        is_other = data.get("api") == "data_manager"
        return {"base_url": data_manager.BASE_URL, **data} if is_other else data

    @model_validator(mode="after")
    def _has_developer_token(self) -> GoogleAds:
        if self.api == "google_ads" and self.developer_token is None:
            raise ValueError(
                "developer_token is missing. Add it, or set api: data_manager, which doesn't need one."
            )
        return self

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        """Both APIs manage the same lists of the same account."""
        found = super().delivers_to(audience, mode, base_url)
        return {**found, "host": "the usual one"} if self.base_url == data_manager.BASE_URL else found

    @property
    def through(self) -> Api:
        """Return the API in use."""
        return data_manager if self.api == "data_manager" else offline_jobs

    @classmethod
    def identifier_choices(cls) -> tuple[IdentifierChoice, ...]:
        return tuple(
            IdentifierChoice(each, {"upload_key_type": kind})
            for kind, known in IDENTIFIERS.items()
            for each in known
        )

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return IDENTIFIERS[self.upload_key_type]

    @property
    def consent(self) -> dict[str, str]:
        """Return the consent set in the configuration."""
        said = {"adUserData": self.ad_user_data, "adPersonalization": self.ad_personalization}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def limits(self) -> Batch:
        if self.api == "google_ads":
            return self.batch
        return Batch(min(self.batch.records, data_manager.BATCH.records))

    @property
    def pace(self) -> RateLimit | None:
        return super().pace or (data_manager.RATE if self.api == "data_manager" else None)

    def headers(self) -> dict[str, str]:
        headers = super().headers()
        if self.api == "google_ads" and self.developer_token is not None:
            headers["developer-token"] = self.developer_token.get_secret_value()
            if self.login_customer_id is not None:
                headers["login-customer-id"] = self.login_customer_id
        return headers

    def add(self, records: Records) -> Flow:
        return self.through.add(self, records)

    def remove(self, records: Records) -> Flow:
        return self.through.remove(self, records)

    def find_audience(self, audience: str) -> Asking[str | None]:
        return self.through.find_audience(self, audience)

    def create_audience(self, audience: str) -> Asking[str]:
        return self.through.create_audience(self, audience)

    def description(self, audience_id: str) -> Asking[str]:
        return self.through.description(self, audience_id)

    def describe(self, audience_id: str, text: str) -> Asking[None]:
        return self.through.describe(self, audience_id, text)

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        return self.through.matched(self, audience_id)

    def probe(self) -> httpx.Request:
        return self.through.probe(self)

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """A complete address is as sufficient as an email."""
        address = (frozenset(ADDRESS),) if self.upload_key_type == "CONTACT_INFO" else ()
        return (*super().found_by(mode), *address)

    def judge(self, response: httpx.Response) -> Disposition:
        """Pass on errors that Google explains, to quote the explanation."""
        error = object_of(response, "error")
        codes = {code for code, _ in errors_in(error)}
        if is_over_soon(error, codes):
            return Disposition.RETRY
        judged = super().judge(response)
        path = response.request.url.path
        if path.endswith((":ingest", ":remove")) and judged is Disposition.BISECT:
            return Disposition.PASS if codes else judged
        blames_records = path.endswith(":addOperations") and codes.isdisjoint(WAYS_OUT)
        if judged is Disposition.FATAL or (judged is Disposition.BISECT and not blames_records):
            return Disposition.PASS if error else Disposition.FATAL
        return judged

    def pause(self, response: httpx.Response) -> float | None:
        return retry_delay(response)
