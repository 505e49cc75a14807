"""Base class of destinations that use an expiring access token, or a refresh token to get new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.sign_in import SignsIn


class RefreshesToken(SignsIn):
    """A destination that uses bearer tokens: `refresh_token` with the client ID and secret, which always
    yields a token (RFC 6749, section 6), an `access_token`, which is used until it expires, or a sign-in."""

    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    token_url: Annotated[str, Field(pattern="^https?://")]
    token_file: Path | None = None

    @model_validator(mode="after")
    def _has_token(self) -> RefreshesToken:
        if self.sign_in is not None:
            return self
        if self.access_token is None and None in (self.refresh_token, self.client_id, self.client_secret):
            raise ValueError("Set refresh_token, client_id and client_secret; or access_token; or sign_in.")
        return self

    def headers(self) -> dict[str, str]:
        if self.access_token is None or self.refresh_token is not None:
            return {}
        return {"Authorization": f"Bearer {self.access_token.get_secret_value()}"}

    def auth(self) -> httpx.Auth | None:
        from revetl.destinations.auth.oauth import OAuth
        from revetl.destinations.auth.oauth_grants import refreshing

        if self.sign_in is not None:
            return super().auth()
        if self.refresh_token is None or self.client_id is None:
            return None
        secret = None if self.client_secret is None else self.client_secret.get_secret_value()
        return OAuth(
            refreshing(self.token_url, self.client_id, secret),
            refresh_token=self.refresh_token.get_secret_value(),
            token_file=self.token_file,
        )
