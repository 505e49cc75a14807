"""Access to the user's own endpoint: OAuth, and TLS certificates: docs/destinations/webhook.md."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import httpx
from pydantic import AliasChoices, Field, SecretStr, model_validator

from revetl.config.base import ConfigModel
from revetl.destinations.auth.certificates import ClientCertificate, context_of
from revetl.destinations.base.destination import Destination

if TYPE_CHECKING:
    from revetl.destinations.auth.oauth import OAuth


class OAuthClient(ConfigModel):
    """An OAuth client and its token URL; with a refresh token, it acts for the user who granted it."""

    token_url: Annotated[str, Field(pattern="^https?://")]
    client_id: str
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_file: Path | None = None
    scope: str | None = None
    audience: str | None = None
    client_auth: Literal["post", "basic"] = "post"

    @model_validator(mode="after")
    def _has_grant(self) -> OAuthClient:
        if self.client_secret is None and (self.refresh_token is None or self.client_auth == "basic"):
            raise ValueError("Set client_secret, or the refresh_token of a public client.")
        return self

    def auth(self) -> OAuth:
        """Return the authentication that fetches tokens on demand."""
        from revetl.destinations.auth.oauth import OAuth
        from revetl.destinations.auth.oauth_grants import client_credentials, refreshing

        secret = None if self.client_secret is None else self.client_secret.get_secret_value()
        said = {"scope": self.scope, "audience": self.audience}
        more = {name: value for name, value in said.items() if value is not None}
        by_header = self.client_auth == "basic"
        if self.refresh_token is None:
            return OAuth(client_credentials(self.token_url, self.client_id, secret or "", more, by_header))
        return OAuth(
            refreshing(self.token_url, self.client_id, secret, more, by_header),
            refresh_token=self.refresh_token.get_secret_value(),
            token_file=self.token_file,
        )


class WebhookAccess(Destination):
    """An endpoint, with everything that authenticates the caller."""

    base_url: Annotated[str, Field(validation_alias=AliasChoices("url", "base_url"), pattern="^https?://")]
    secret: SecretStr | None = None
    extra_headers: Annotated[Mapping[str, str], Field(validation_alias=AliasChoices("headers"))] = {}
    oauth: OAuthClient | None = None
    client_certificate: ClientCertificate | None = None
    ca_bundle: Path | None = None

    def headers(self) -> dict[str, str]:
        return dict(self.extra_headers)

    def auth(self) -> httpx.Auth | None:
        return None if self.oauth is None else self.oauth.auth()

    def tls(self) -> ssl.SSLContext | None:
        return context_of(self.client_certificate, self.ca_bundle)

    def signed(self, request: httpx.Request, content: bytes) -> httpx.Request:
        """Add the signature of `content` to a request, if there is a secret."""
        if self.secret:
            signature = hmac.digest(self.secret.get_secret_value().encode(), content, "sha256").hex()
            request.headers["X-Revetl-Signature"] = f"sha256={signature}"
        return request
