"""Requests for access tokens, by the grants that there are: RFC 6749, sections 4.4 and 6, and RFC 7523."""

from __future__ import annotations

import time
import uuid

import httpx

from revetl.destinations.flows import Refused
from revetl.destinations.oauth import TokenRequest

_JWT_SECONDS = 180


def client_credentials(url: str, client_id: str, client_secret: str) -> TokenRequest:
    """Tokens of the client itself."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    return lambda _: httpx.Request("POST", url, data=form)


def refreshing(url: str, client_id: str, client_secret: str | None) -> TokenRequest:
    """Tokens of who gave the refresh token; a public client has no secret."""
    form = {"grant_type": "refresh_token", "client_id": client_id}
    if client_secret is not None:
        form["client_secret"] = client_secret
    return lambda token: httpx.Request("POST", url, data={**form, "refresh_token": token or ""})


def jwt_bearer(url: str, *, issuer: str, subject: str, audience: str, key: str) -> TokenRequest:
    """Tokens of `subject`, for what is signed (RS256) by a key in PEM. The request raises Refused for a key
    that is none."""

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
            # Environment variables often hold it in one line.
            signing = RSAKey.import_key(key.replace("\\n", "\n"))
            assertion = jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, signing)
        except (ValueError, TypeError, JoseError):
            raise Refused("private_key is no RSA key in PEM. Set it to the whole file's text.") from None
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return httpx.Request("POST", url, data={"grant_type": grant, "assertion": assertion})

    return request
