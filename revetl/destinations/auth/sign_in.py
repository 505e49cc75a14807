"""What destinations share that a user can sign in to by `revetl auth`: docs/signing-in.md."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from revetl.config.base import Checked
from revetl.destinations.auth.providers import Provider, provider_of
from revetl.destinations.auth.store import SignIn, SignIns, Tokens
from revetl.destinations.base.addresses import LOOPBACK
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.flow import Refused
from revetl.errors import UsageError
from revetl.local.interprocess import Lock

ADDRESSES = ("base_url", "instance_url", "company_domain")
"""Keys of a configuration that say where an account is."""
NOT_SIGNED_IN = "https://not-signed-in.invalid"
_EARLY_SECONDS = 30.0
Url = Annotated[str, Field(pattern="^https?://")]


class SignInConfig(Checked):
    """The app by which users sign in, as it is registered with the provider. The addresses and scopes are the
    provider's, unless they are set."""

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
        """Tokens travel in the open over http, except on this machine."""
        if value is not None and value.startswith("http:") and urlsplit(value).hostname not in LOOPBACK:
            raise ValueError("has to begin with https://, for secrets are sent there")
        return value

    @model_validator(mode="after")
    def _one_redirect(self) -> SignInConfig:
        if self.redirect_uri is not None and self.port is not None:
            raise ValueError("redirect_uri: has a port already, and port: is another. Keep one of them.")
        return self

    @property
    def secret(self) -> str | None:
        """The app's secret."""
        return None if self.client_secret is None else self.client_secret.get_secret_value()

    def of(self, provider: Provider, configuration: Mapping[str, object]) -> Provider:
        """The provider, with its addresses filled in, and what is set here in their place."""
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
            # A Salesforce org of its own domain signs in there.
            own_domain = configuration.get("instance_url") or configuration.get("base_url")
            configuration = {**configuration, **({"login_url": own_domain} if own_domain else {})}
        addresses = {
            name: provider.address(template, configuration)
            for name in ("authorize_url", "token_url", "revoke_url")
            if (template := getattr(provider, name)) is not None
        }
        return replace(provider, **{**addresses, **own})


def tokens_of(answer: Mapping[str, Any], before: Tokens | None = None) -> Tokens:
    """The tokens in an answer (RFC 6749, section 5.1). A refresh token that is not in it is the one `before`.
    Raises KeyError for an answer without an access token."""
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
    """A sign-in in its place, as a `TokenStore`."""

    sign_ins: SignIns
    provider: Provider
    sign_in: SignIn

    def lock(self) -> Lock:
        return self.sign_ins.lock(self.sign_in.destination)

    def read(self) -> tuple[str | None, str | None]:
        tokens = self._now().tokens
        # One that cannot be renewed is tried, whatever the clock says.
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
        """As it is stored by now. Raises Refused where it cannot be read."""
        try:
            return self.sign_ins.read(self.sign_in.destination) or self.sign_in
        except UsageError as error:
            raise Refused(str(error)) from None

    def settings_beside(self, configuration: Mapping[str, object]) -> Mapping[str, str]:
        """What the provider said of the account, where the configuration does not say it."""
        if any(configuration.get(name) for name in (*ADDRESSES, "server")):
            return {}
        return self.sign_in.settings

    @property
    def way_out(self) -> str:
        """What to do when it ends."""
        return f"Run `revetl auth {self.sign_in.destination}` to sign in again."


class SignsIn(Destination):
    """A destination that a user can sign in to. With `sign_in`, its credentials are those that `revetl auth`
    has stored, and it has no others."""

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
    """The keys, where a type has them, that are credentials without a sign-in."""

    needed_credentials: ClassVar[tuple[str, ...]] = ()
    """Those of them that are needed without a sign-in, where all of them are."""

    sign_in: SignInConfig | None = None
    _stored: StoredSignIn | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _address_of_nobody(cls, data: Any) -> Any:
        """Where only the provider knows the account's address, a plan before the sign-in has another."""
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
                raise ValueError(f"{', '.join(missing)}: missing. Add it, or sign_in: and run `revetl auth`")
        else:
            there = [name for name in self.other_credentials if getattr(self, name, None) is not None]
            if there:
                raise ValueError(
                    f"sign_in: and {', '.join(there)}: are two sets of credentials; keep one. The id and "
                    "the secret of the app are written in sign_in:"
                )
        return self

    def signed_in(self, stored: StoredSignIn) -> SignsIn:
        """The same, with a stored sign-in."""
        made = self.model_copy()
        made._stored = stored
        return made

    @property
    def stored(self) -> StoredSignIn | None:
        """The stored sign-in; None where there is none, as in a plan before it."""
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
        """The same for a provider of OAuth 1.0a, whose tokens sign requests."""
        from revetl.destinations.auth.oauth1 import OAuth1

        if self._stored is None or self.sign_in is None:
            return None
        tokens = self._stored.sign_in.tokens
        return OAuth1(
            self.sign_in.client_id, self.sign_in.secret or "", tokens.access_token, tokens.secret or ""
        )

    def refuses_token(self, response: httpx.Response) -> bool:
        """Whether an answer says that the access token has ended."""
        return response.status_code == 401
