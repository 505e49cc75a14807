"""Base class of destinations that a user can sign in to with `revetl auth`: docs/how-to/signing-in.md."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from revetl.config.base import ConfigModel
from revetl.destinations.auth.providers import Provider, provider_of
from revetl.destinations.auth.store import SignIn, SignIns, Tokens
from revetl.destinations.base.addresses import LOOPBACK
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.flow import Refused
from revetl.errors import UsageError
from revetl.local.interprocess import Lock

ADDRESSES = ("base_url", "instance_url", "company_domain")
"""Configuration keys that hold the address of an account."""
NOT_SIGNED_IN = "https://not-signed-in.invalid"
_EARLY_SECONDS = 30.0
Url = Annotated[str, Field(pattern="^https?://")]


class SignInConfig(ConfigModel):
    """The OAuth app that users sign in with, as registered with the provider. URLs and scopes default to the
    provider's."""

    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr | None = None
    redirect_uri: Url | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    scopes: tuple[str, ...] | None = None
    authorize_url: Url | None = None
    token_url: Url | None = None
    revoke_url: Url | None = None
    request_token_url: Url | None = None
    about_url: Url | None = None

    @field_validator("authorize_url", "token_url", "revoke_url", "request_token_url", "about_url")
    @classmethod
    def _is_private(cls, value: str | None) -> str | None:
        """Require https, except on this machine: tokens would travel unencrypted."""
        if value is not None and value.startswith("http:") and urlsplit(value).hostname not in LOOPBACK:
            raise ValueError("must start with https://, since secrets are sent there")
        return value

    @model_validator(mode="after")
    def _one_redirect(self) -> SignInConfig:
        if self.redirect_uri is not None and self.port is not None:
            raise ValueError("redirect_uri: already contains a port; remove port:, or remove redirect_uri:.")
        return self

    @property
    def secret(self) -> str | None:
        """Return the app's secret."""
        return None if self.client_secret is None else self.client_secret.get_secret_value()

    def of(self, provider: Provider, configuration: Mapping[str, object]) -> Provider:
        """Return the provider with its URLs filled in, overridden by the settings here."""
        own = {
            name: value
            for name in (
                "authorize_url",
                "token_url",
                "revoke_url",
                "request_token_url",
                "about_url",
                "scopes",
            )
            if (value := getattr(self, name)) is not None
        }
        if "login_url" not in configuration:
            # A Salesforce org with its own domain signs in there.
            own_domain = configuration.get("instance_url") or configuration.get("base_url")
            configuration = {**configuration, **({"login_url": own_domain} if own_domain else {})}
        addresses = {
            name: provider.address(template, configuration)
            for name in ("authorize_url", "token_url", "revoke_url")
            if (template := getattr(provider, name)) is not None
        }
        return replace(provider, **{**addresses, **own})


def tokens_of(answer: Mapping[str, Any], before: Tokens | None = None) -> Tokens:
    """Return the tokens in a response (RFC 6749, section 5.1). Keeps the refresh token of `before` if the
    response has none. Raises KeyError if the response has no access token."""
    try:
        lasts = float(answer["expires_in"])
    except (KeyError, TypeError, ValueError):
        lasts = None
    rotated = answer.get("refresh_token") or (before.refresh_token if before else None)
    return Tokens(
        access_token=str(answer["access_token"]),
        refresh_token=None if rotated is None else str(rotated),
        expires_at=None if lasts is None else time.time() + lasts,
    )


@dataclass(frozen=True)
class StoredSignIn:
    """A stored sign-in, as a `TokenStore`."""

    sign_ins: SignIns
    provider: Provider
    sign_in: SignIn

    def lock(self) -> Lock:
        return self.sign_ins.lock(self.sign_in.destination)

    def read(self) -> tuple[str | None, str | None]:
        tokens = self._now().tokens
        # A token that can't be refreshed is used even if it seems expired.
        is_over = (
            tokens.refresh_token is not None
            and tokens.expires_at is not None
            and tokens.expires_at - _EARLY_SECONDS < time.time()
        )
        return None if is_over else tokens.access_token, tokens.refresh_token

    def write(self, answer: Mapping[str, Any]) -> None:
        now = self._now()
        try:
            self.sign_ins.write(replace(now, tokens=tokens_of(answer, now.tokens)))
        except UsageError as error:
            raise Refused(str(error)) from None

    def _now(self) -> SignIn:
        """Read the current stored sign-in. Raises Refused if it cannot be read."""
        try:
            return self.sign_ins.read(self.sign_in.destination) or self.sign_in
        except UsageError as error:
            raise Refused(str(error)) from None

    def settings_beside(self, configuration: Mapping[str, object]) -> Mapping[str, str]:
        """Return account settings reported by the provider, unless the configuration sets the address."""
        if any(configuration.get(name) for name in (*ADDRESSES, "server")):
            return {}
        return self.sign_in.settings

    @property
    def way_out(self) -> str:
        """Return the instruction for when the sign-in expires."""
        return f"Run `revetl auth {self.sign_in.destination}` to sign in again."


class SignsIn(Destination):
    """A destination that a user can sign in to. With `sign_in`, its only credentials are those stored by
    `revetl auth`."""

    other_credentials: ClassVar[tuple[str, ...]] = (
        "access_token",
        "refresh_token",
        "token_file",
        "client_id",
        "client_secret",
        "api_key",
        "api_token",
        "private_key",
        "consumer_key",
        "consumer_secret",
        "access_token_secret",
    )
    """Credential keys, where a type has them, that are used without a sign-in."""

    needed_credentials: ClassVar[tuple[str, ...]] = ()
    """The credential keys that are required without a sign-in."""

    sign_in: SignInConfig | None = None
    _stored: StoredSignIn | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _address_of_nobody(cls, data: Any) -> Any:
        """Set a placeholder address for plans before the sign-in, if only the provider knows the address."""
        if not isinstance(data, Mapping) or not data.get("sign_in"):
            return data
        provider = provider_of(str(data.get("type")), data)
        named = (*ADDRESSES, *(provider.settings.values() if provider else ()))
        if cls.model_fields["base_url"].is_required() and not any(data.get(name) for name in named):
            return {**data, "base_url": NOT_SIGNED_IN}
        return data

    @model_validator(mode="after")
    def _one_way_in(self) -> SignsIn:
        if self.sign_in is None:
            missing = [name for name in self.needed_credentials if getattr(self, name) is None]
            if missing:
                raise ValueError(f"{', '.join(missing)}: missing. Add, or use sign_in: and run `revetl auth`")
        else:
            there = [name for name in self.other_credentials if getattr(self, name, None) is not None]
            if there:
                raise ValueError(
                    f"sign_in: and {', '.join(there)}: are two sets of credentials; keep one. The ID and "
                    "secret of the app belong in sign_in:"
                )
        return self

    def signed_in(self, stored: StoredSignIn) -> SignsIn:
        """Return a copy that uses a stored sign-in."""
        made = self.model_copy()
        made._stored = stored
        return made

    @property
    def stored(self) -> StoredSignIn | None:
        """Return the stored sign-in; None if there isn't one, as in a plan before the sign-in."""
        return self._stored

    def auth(self) -> httpx.Auth | None:
        from revetl.destinations.auth.oauth import OAuth
        from revetl.destinations.auth.oauth_grants import refreshing

        if self._stored is None or self.sign_in is None:
            return None
        stored = self._stored
        provider, sign_in = stored.provider, self.sign_in
        renewing = None
        if stored.sign_in.tokens.refresh_token is not None:
            by_header = provider.client_auth == "basic"
            renewing = refreshing(provider.token_url, sign_in.client_id, sign_in.secret, by_header=by_header)
        return OAuth(
            renewing,
            store=stored,
            is_expired=self.refuses_token,
            header=provider.header,
            way_out=stored.way_out,
            secrets=stored.sign_in.secrets,
        )

    def signing(self) -> httpx.Auth | None:
        """Return the authentication for an OAuth 1.0a provider, whose tokens sign requests."""
        from revetl.destinations.auth.oauth1 import OAuth1

        if self._stored is None or self.sign_in is None:
            return None
        tokens = self._stored.sign_in.tokens
        return OAuth1(
            self.sign_in.client_id, self.sign_in.secret or "", tokens.access_token, tokens.secret or ""
        )

    def refuses_token(self, response: httpx.Response) -> bool:
        """Whether a response means that the access token has expired."""
        return response.status_code == 401
