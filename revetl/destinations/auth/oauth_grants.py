"""Requests for access tokens, by grant type: RFC 6749, sections 4.4 and 6, and RFC 7523."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from urllib.parse import quote_plus

import httpx

from revetl.destinations.auth.basic import basic
from revetl.destinations.auth.oauth import TokenRequest
from revetl.destinations.base.flow import Refused

_JWT_SECONDS = 180


def client_credentials(
    url: str,
    client_id: str,
    client_secret: str,
    more: Mapping[str, str] | None = None,
    by_header: bool = False,
) -> TokenRequest:
    """Return requests for tokens of the client itself. `more` holds additional parameters, such as a scope;
    `by_header` authenticates the client in a header (RFC 6749, section 2.3.1)."""
    form = {"grant_type": "client_credentials", **(more or {})}
    return lambda _: _asking(url, form, client_id, client_secret, by_header)


def refreshing(
    url: str,
    client_id: str,
    client_secret: str | None,
    more: Mapping[str, str] | None = None,
    by_header: bool = False,
) -> TokenRequest:
    """Return requests that exchange a refresh token; a public client has no secret. `more`, `by_header`: as
    above."""
    form = {"grant_type": "refresh_token", **(more or {})}
    return lambda token: _asking(
        url, {**form, "refresh_token": token or ""}, client_id, client_secret, by_header
    )


def _asking(
    url: str, form: Mapping[str, str], client_id: str, client_secret: str | None, by_header: bool
) -> httpx.Request:
    """Build the request of a grant, with the client's credentials."""
    if by_header:
        told = {"Authorization": basic(quote_plus(client_id), quote_plus(client_secret or ""))}
        return httpx.Request("POST", url, data=form, headers=told)
    client = {"client_id": client_id} | ({} if client_secret is None else {"client_secret": client_secret})
    return httpx.Request("POST", url, data={**form, **client})


def jwt_bearer(url: str, *, issuer: str, subject: str, audience: str, key: str) -> TokenRequest:
    """Return requests for tokens of `subject`, with an assertion signed (RS256) by a PEM key. The request
    raises Refused if the key is invalid."""

    def request(_: str | None) -> httpx.Request:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import RSAKey

        claims = {
            "iss": issuer,
            "sub": subject,
            "aud": audience,
            "exp": int(time.time()) + _JWT_SECONDS,
            "jti": uuid.uuid4().hex,
        }
        try:
            # Environment variables often hold the key on one line.
            signing = RSAKey.import_key(key.replace("\\n", "\n"))
            assertion = jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, signing)
        except (ValueError, TypeError, JoseError):
            raise Refused("private_key is not an RSA key in PEM. Set it to the file's full text.") from None
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return httpx.Request("POST", url, data={"grant_type": grant, "assertion": assertion})

    return request
