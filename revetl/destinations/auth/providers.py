"""The OAuth providers of destinations. docs/how-to/signing-in.md has the same data as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

PORT = 8910
"""The port of the loopback redirect for providers that compare the whole redirect URI."""
_HUBSPOT = (
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.schemas.contacts.read",
    "crm.lists.read",
    "crm.lists.write",
)
"""The scopes for contacts and lists; companies and events need additional scopes."""

Redirect = Literal["127.0.0.1", "localhost", "https"]


@dataclass(frozen=True)
class Provider:
    """How a user signs in. URLs may contain keys of the destination's configuration, such as `{login_url}`;
    `defaults` has the values of keys that are not set.

    `redirect` is the host of the redirect URI; with `https` there is no loopback redirect, and the user
    pastes the URL. `any_port`: the provider doesn't compare the port of a loopback redirect (RFC 8252,
    section 7.3). `has_secret`: the app is a confidential client, whose secret is required. `expires`: access
    tokens expire and are refreshed. `names` maps parameters of RFC 6749 to the provider's names. `body` and
    `envelope` are the format of the token request and the key that wraps the response. `settings` maps keys
    of the response (or of the response of `about_url`) to keys of the configuration. `header` is the name of
    the header and the prefix of the token in it. `register` says where to register an app.
    """

    name: str
    authorize_url: str
    token_url: str
    redirect: Redirect
    sources: tuple[str, ...]
    revoke_url: str | None = None
    request_token_url: str | None = None
    about_url: str | None = None
    scopes: tuple[str, ...] = ()
    separator: str = " "
    pkce: bool = False
    has_secret: bool = True
    client_auth: Literal["post", "basic"] = "post"
    any_port: bool = False
    expires: bool = True
    body: Literal["form", "json"] = "form"
    envelope: str | None = None
    header: tuple[str, str] = ("Authorization", "Bearer ")
    extra: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    register: str = ""

    @property
    def is_oauth1(self) -> bool:
        """Whether it uses OAuth 1.0a (RFC 5849)."""
        return self.request_token_url is not None

    def named(self, parameter: str) -> str:
        """Return the provider's name of a parameter."""
        return self.names.get(parameter, parameter)

    def address(self, template: str, configuration: Mapping[str, object]) -> str:
        """Fill the keys of a configuration into a URL."""
        values = {**self.defaults, **{name: str(value).rstrip("/") for name, value in configuration.items()}}
        return template.format_map(values)


def _google(scope: str) -> Provider:
    return Provider(
        name="Google",
        register="Google Cloud console, APIs & Services, Credentials: an OAuth client of type Desktop app",
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106
        revoke_url="https://oauth2.googleapis.com/revoke",
        redirect="127.0.0.1",
        any_port=True,
        pkce=True,
        scopes=(f"https://www.googleapis.com/auth/{scope}",),
        # Without these there is no refresh token, or only on the first sign-in.
        extra={"access_type": "offline", "prompt": "consent"},
        sources=("https://developers.google.com/identity/protocols/oauth2/native-app",),
    )


_INTERCOM = Provider(
    name="Intercom",
    register="Intercom's Developer Hub, with Use OAuth and the permissions of people, tags and events",
    authorize_url="https://app.intercom.com/oauth",
    token_url="https://api.intercom.io/auth/eagle/token",  # noqa: S106
    redirect="https",
    expires=False,
    sources=(
        "https://developers.intercom.com/docs/build-an-integration/learn-more/authentication/setting-up-oauth",
    ),
)
PROVIDERS: Mapping[str, Provider] = {
    "salesforce": Provider(
        name="Salesforce",
        register="Setup, External Client App Manager, with the scopes api and refresh_token",
        authorize_url="{login_url}/services/oauth2/authorize",
        token_url="{login_url}/services/oauth2/token",  # noqa: S106
        revoke_url="{login_url}/services/oauth2/revoke",
        # Only https, or http on localhost, can be registered.
        redirect="localhost",
        pkce=True,
        has_secret=False,
        scopes=("api", "refresh_token"),
        settings={"instance_url": "instance_url"},
        defaults={"login_url": "https://login.salesforce.com"},
        sources=(
            "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_web_server_flow.htm",
            "https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_refresh_token_flow.htm",
        ),
    ),
    "hubspot": Provider(
        name="HubSpot",
        register="a public app of a HubSpot developer account",
        authorize_url="https://app.hubspot.com/oauth/authorize",
        token_url="https://api.hubapi.com/oauth/2026-03/token",  # noqa: S106
        revoke_url="https://api.hubapi.com/oauth/2026-03/token/revoke",
        redirect="localhost",
        scopes=_HUBSPOT,
        sources=(
            "https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens",
            "https://developers.hubspot.com/changelog/v1-oauth-api-deprecation",
        ),
    ),
    "google_ads": _google("adwords"),
    "google_ads.data_manager": _google("datamanager"),
    "google_conversions": _google("datamanager"),
    "linkedin_ads": Provider(
        name="LinkedIn",
        register="the LinkedIn developer portal; with access to the Advertising API and to Audiences",
        authorize_url="https://www.linkedin.com/oauth/v2/authorization",
        token_url="https://www.linkedin.com/oauth/v2/accessToken",  # noqa: S106
        redirect="localhost",
        scopes=("rw_dmp_segments", "r_ads"),
        sources=(
            "https://learn.microsoft.com/en-us/linkedin/shared/authentication/authorization-code-flow",
            "https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens",
        ),
    ),
    "tiktok_ads": Provider(
        name="TikTok",
        register="TikTok API for Business, My Apps, with the scope Audience Management",
        authorize_url="https://business-api.tiktok.com/portal/auth",
        token_url="https://business-api.tiktok.com/open_api/v1.3/oauth2/access_token/",  # noqa: S106
        revoke_url="https://business-api.tiktok.com/open_api/v1.3/oauth2/revoke_token/",
        redirect="https",
        expires=False,
        body="json",
        envelope="data",
        header=("Access-Token", ""),
        names={
            "client_id": "app_id",
            "client_secret": "secret",
            "code": "auth_code",
            "token": "access_token",
        },
        sources=("https://business-api.tiktok.com/portal/docs?id=1738373164380162",),
    ),
    "twitter_ads": Provider(
        name="X",
        register="the X developer portal: an app with OAuth 1.0a, and access to the Ads API",
        request_token_url="https://api.x.com/oauth/request_token",  # noqa: S106
        authorize_url="https://api.x.com/oauth/authorize",
        token_url="https://api.x.com/oauth/access_token",  # noqa: S106
        # `localhost` is not accepted as a callback.
        redirect="127.0.0.1",
        expires=False,
        sources=(
            "https://docs.x.com/fundamentals/authentication/oauth-1-0a/obtaining-user-access-tokens",
            "https://docs.x.com/fundamentals/authentication/oauth-1-0a/pin-based-oauth",
        ),
    ),
    "snap_ads": Provider(
        name="Snap",
        register="Snap Business Manager, Business Details, OAuth Apps",
        authorize_url="https://accounts.snapchat.com/login/oauth2/authorize",
        token_url="https://accounts.snapchat.com/login/oauth2/access_token",  # noqa: S106
        redirect="https",
        scopes=("snapchat-marketing-api",),
        sources=("https://developers.snap.com/api/marketing-api/Ads-API/authentication",),
    ),
    "mailchimp": Provider(
        name="Mailchimp",
        register="Mailchimp, Account, Extras, Registered Apps",
        authorize_url="https://login.mailchimp.com/oauth2/authorize",
        token_url="https://login.mailchimp.com/oauth2/token",  # noqa: S106
        about_url="https://login.mailchimp.com/oauth2/metadata",
        # `localhost` is not accepted as a redirect.
        redirect="127.0.0.1",
        expires=False,
        settings={"dc": "server"},
        sources=("https://mailchimp.com/developer/marketing/guides/access-user-data-oauth-2/",),
    ),
    "intercom": _INTERCOM,
    **{
        f"intercom.{region}": replace(
            _INTERCOM,
            authorize_url=f"https://app.{region}.intercom.com/oauth",
            token_url=f"https://api.{region}.intercom.io/auth/eagle/token",
        )
        for region in ("eu", "au")
    },
    "pipedrive": Provider(
        name="Pipedrive",
        register="Pipedrive's Developer Hub; scopes are those of the app",
        authorize_url="https://oauth.pipedrive.com/oauth/authorize",
        token_url="https://oauth.pipedrive.com/oauth/token",  # noqa: S106
        revoke_url="https://oauth.pipedrive.com/oauth/revoke",
        redirect="localhost",
        client_auth="basic",
        settings={"api_domain": "base_url"},
        sources=(
            "https://pipedrive.readme.io/docs/marketplace-oauth-authorization",
            "https://developers.pipedrive.com/docs/api/v1/Oauth",
        ),
    ),
}
"""By destination type, followed by a dot and its `api` or `region` where the provider differs."""


def provider_of(kind: str, configuration: Mapping[str, object] | None = None) -> Provider | None:
    """Return the provider of a destination type; None if it doesn't support sign-in."""
    given = configuration or {}
    variant = given.get("api") or given.get("region")
    return PROVIDERS.get(f"{kind}.{variant}") or PROVIDERS.get(kind)
