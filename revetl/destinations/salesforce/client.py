"""A Salesforce org: endpoint, authentication, and the daily API limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr, SecretStr, model_validator

from revetl.config.models import share
from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Disposition,
    Flow,
    Records,
    Refused,
)
from revetl.destinations.salesforce.bulk import AGAIN, error_of

_LIMIT = "REQUEST_LIMIT_EXCEEDED"
_REFUSED = frozenset({"INVALID_FIELD", "INVALID_TYPE", "MALFORMED_QUERY"})
_SPOILT_JOB = frozenset({"INVALIDJOB", "INVALIDJOBSTATE"})
_USAGE = re.compile(r"\bapi-usage=(\d+)/(\d+)")
_DAY = 86_400.0


class SalesforceOrg(SignsIn, HasAudiences):
    """The configuration of an org, and its requests."""

    base_url: Annotated[
        str, Field(pattern="^https?://", validation_alias=AliasChoices("instance_url", "base_url"))
    ]
    version: Annotated[str, Field(pattern=r"^v\d+\.0$")] = "v62.0"
    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_file: Path | None = None
    private_key: SecretStr | None = None
    username: str | None = None
    login_url: Annotated[str, Field(pattern="^https?://")] | None = None
    max_daily_api_share: Annotated[float, BeforeValidator(share), Field(gt=0, le=1)] = 0.9
    _used: float = PrivateAttr(0.0)

    @model_validator(mode="after")
    def _has_a_grant(self) -> SalesforceOrg:
        grants = (self.refresh_token, self.client_secret, self.private_key and self.username)
        if self.sign_in is not None:
            return self
        if self.access_token is None and (self.client_id is None or not any(grants)):
            raise ValueError(
                "set client_id with client_secret, with refresh_token, or with private_key and username; "
                "or access_token, or sign_in"
            )
        return self

    def headers(self) -> dict[str, str]:
        token = self.access_token
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    def auth(self) -> httpx.Auth | None:
        from revetl.destinations.auth.oauth import OAuth
        from revetl.destinations.auth.oauth_grants import client_credentials, jwt_bearer, refreshing

        if self.sign_in is not None:
            return super().auth()
        if self.access_token is not None:
            return None
        assert self.client_id is not None
        at = (self.login_url or self.base_url).rstrip("/")
        url = f"{at}/services/oauth2/token"
        secret = None if self.client_secret is None else self.client_secret.get_secret_value()
        if self.refresh_token is not None:
            return OAuth(
                refreshing(url, self.client_id, secret),
                refresh_token=self.refresh_token.get_secret_value(),
                token_file=self.token_file,
            )
        if self.private_key is not None and self.username is not None:
            key = self.private_key.get_secret_value()
            grant = jwt_bearer(url, issuer=self.client_id, subject=self.username, audience=at, key=key)
            return OAuth(grant)
        return OAuth(client_credentials(url, self.client_id, secret or ""))

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        csv: str | None = None,
        asked: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """Build a request to the REST API, or to Bulk API 2.0 with a CSV body."""
        address = f"/services/data/{self.version}/{path}"
        if csv is None:
            return self.request(method, address, json=json, params=asked, headers=headers)
        said = {**self.headers(), "Content-Type": "text/csv; charset=UTF-8"}
        return httpx.Request(method, self.base_url.rstrip("/") + address, headers=said, content=csv.encode())

    def probe(self) -> httpx.Request:
        return self.call("GET", "limits")

    def flow(self, mode: str, records: Records) -> Flow:
        """Stop writing once the daily share is used; flows in progress finish."""
        if not self.is_over:
            return (yield from super().flow(mode, records))
        yield self.probe()
        raise self.over()

    def over(self) -> Refused:
        """Return the error for an exhausted share of API calls."""
        return Refused(
            f"Salesforce: {self._used:.0%} of the org's API calls per 24 hours are used, and "
            f"max_daily_api_share is {self.max_daily_api_share:.0%}. Run the sync later, or raise the limit."
        )

    @property
    def is_over(self) -> bool:
        """Whether the org has used its share of API calls, according to the latest response."""
        return self._used >= self.max_daily_api_share

    def judge(self, response: httpx.Response) -> Disposition:
        """Use the code in the body: 403 is also used for limits."""
        if usage := _USAGE.search(response.headers.get("sforce-limit-info", "")):
            self._used = int(usage[1]) / max(int(usage[2]), 1)
        code, _ = error_of(response)
        if code == _LIMIT:
            return Disposition.LIMITED
        if code in AGAIN:
            return Disposition.RETRY
        if code in _REFUSED:
            return Disposition.FATAL
        return Disposition.PASS if code in _SPOILT_JOB else super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        # This is the 24-hour limit; the concurrent request limit has the same code but ends soon.
        code, message = error_of(response)
        return _DAY if code == _LIMIT and "TotalRequests" in message else None
