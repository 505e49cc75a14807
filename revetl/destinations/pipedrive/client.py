"""Pipedrive's API and authentication: docs/destinations/pipedrive.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.per_person import PersonByPerson


class PipedriveApi(SignsIn, PersonByPerson):
    """A Pipedrive account, accessed with a user's token or an app's (OAuth)."""

    api_token: SecretStr | None = None
    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_file: Path | None = None
    token_url: str = "https://oauth.pipedrive.com/oauth/token"  # noqa: S105  a URL
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://api.pipedrive.com"

    @model_validator(mode="before")
    @classmethod
    def _address(cls, data: Any) -> Any:
        """Accept `company_domain`, the account's own host."""
        given = dict(data)
        if domain := given.pop("company_domain", None):
            given.setdefault(
                "base_url", f"https://{str(domain).removesuffix('.pipedrive.com')}.pipedrive.com"
            )
        return given

    @model_validator(mode="after")
    def _credentials(self) -> PipedriveApi:
        app = self.client_id and self.client_secret and (self.refresh_token or self.token_file)
        if not (self.api_token or self.access_token or app or self.sign_in):
            raise ValueError(
                "set api_token, or access_token, or client_id, client_secret and refresh_token, or sign_in"
            )
        return self

    def headers(self) -> dict[str, str]:
        if self.api_token is not None:
            return {"x-api-token": self.api_token.get_secret_value()}
        if self.access_token is not None:
            return {"Authorization": f"Bearer {self.access_token.get_secret_value()}"}
        return {}

    def auth(self) -> httpx.Auth | None:
        from revetl.destinations.auth.oauth import OAuth

        if self.sign_in is not None:
            return super().auth()
        if self.api_token or self.access_token or self.client_id is None or self.client_secret is None:
            return None
        basic = httpx.BasicAuth(self.client_id, self.client_secret.get_secret_value())
        first = self.refresh_token and self.refresh_token.get_secret_value()

        def renewed(refresh_token: str | None) -> httpx.Request:
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
            return next(basic.auth_flow(httpx.Request("POST", self.token_url, data=form)))

        return OAuth(renewed, refresh_token=first or None, token_file=self.token_file)
