"""The authorization code grant (RFC 6749, section 4.1; PKCE: RFC 7636) and OAuth 1.0a (RFC 5849) as flows.

A flow yields requests and visits of the user's browser, receives their results, and returns the tokens. It
opens no socket.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import orjson

from revetl.destinations.auth.basic import basic
from revetl.destinations.auth.oauth import why
from revetl.destinations.auth.providers import Provider
from revetl.destinations.auth.sign_in import SignInConfig, tokens_of
from revetl.destinations.auth.store import Tokens
from revetl.errors import DestinationRefused

_OUT_OF_BAND = "oob"


@dataclass(frozen=True)
class Visit:
    """An address for the browser. Its redirect has the value `match` in one of the parameters `matched_by`.
    Without a redirect, the user sees a code, which becomes the parameter `code_alone`, without `match`."""

    url: str
    matched_by: tuple[str, ...]
    match: str
    code_alone: str | None = None

    def is_answered_by(self, parameters: Mapping[str, str]) -> bool:
        """Whether a redirect belongs to this visit."""
        return any(
            hmac.compare_digest(parameters.get(name, "").encode(), self.match.encode())
            for name in self.matched_by
        )


@dataclass(frozen=True)
class Grant:
    """The result of a flow: tokens, scopes, and configuration keys that the provider returned."""

    tokens: Tokens
    scopes: tuple[str, ...]
    settings: Mapping[str, str]


Step = httpx.Request | Visit
Flow = Generator[Step, Any, Grant]
"""Receives an `httpx.Response` for a request, and the parameters of the redirect for a visit."""


def flow_of(provider: Provider, sign_in: SignInConfig, redirect_uri: str | None) -> Flow:
    """Return the flow of a provider; without `redirect_uri`, the one in which the provider shows a code. The
    flow raises DestinationRefused if the provider or the user refuses."""
    if provider.is_oauth1:
        return _oauth1(provider, sign_in, redirect_uri or _OUT_OF_BAND)
    assert redirect_uri is not None
    return _authorization_code(provider, sign_in, redirect_uri)


def _authorization_code(provider: Provider, sign_in: SignInConfig, redirect_uri: str) -> Flow:
    from authlib.common.security import generate_token
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    state, verifier = generate_token(43), generate_token(64)
    challenge = {}
    if provider.pkce:
        challenge = {
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
    url = prepare_grant_uri(
        provider.authorize_url,
        sign_in.client_id,
        "code",
        redirect_uri,
        provider.separator.join(provider.scopes) or None,
        state,
        **provider.extra,
        **challenge,
    )
    if (own := provider.named("client_id")) != "client_id":
        url = str(httpx.URL(url).copy_remove_param("client_id").copy_set_param(own, sign_in.client_id))
    redirect = yield Visit(url, ("state",), state)
    if "error" in redirect:
        raise DestinationRefused(f"{provider.name} refused: {_error_in(redirect)}.")
    code = redirect.get(provider.named("code")) or redirect.get("code")
    if not code:
        raise DestinationRefused(f"{provider.name} redirected without a code. Sign in again.")
    parameters = {
        "grant_type": "authorization_code",
        provider.named("code"): code,
        "redirect_uri": redirect_uri,
        **({"code_verifier": verifier} if provider.pkce else {}),
    }
    response = yield _as_client(provider, sign_in, provider.token_url, parameters)
    answer = _answer(provider, response)
    about = answer
    if provider.about_url is not None:
        token = {"Authorization": f"OAuth {answer['access_token']}", "Accept": "application/json"}
        response = yield httpx.Request("GET", provider.about_url, headers=token)
        about = _object(provider, response)
    scopes = str(answer.get("scope") or " ".join(provider.scopes)).replace(",", " ").split()
    return Grant(tokens_of(answer), tuple(scopes), _settings(provider, about))


def _oauth1(provider: Provider, sign_in: SignInConfig, callback: str) -> Flow:
    from authlib.oauth1 import ClientAuth

    assert provider.request_token_url is not None
    client = ClientAuth(sign_in.client_id, client_secret=sign_in.secret, redirect_uri=callback)
    response = yield _signed(client, provider.request_token_url)
    asked = _form(provider, response)
    client.token, client.token_secret, client.redirect_uri = (
        asked["oauth_token"],
        asked["oauth_token_secret"],
        None,
    )
    url = httpx.URL(provider.authorize_url).copy_merge_params({"oauth_token": client.token})
    alone = "oauth_verifier" if callback == _OUT_OF_BAND else None
    redirect = yield Visit(str(url), ("oauth_token", "denied"), client.token, code_alone=alone)
    if "denied" in redirect or not redirect.get("oauth_verifier"):
        raise DestinationRefused(f"{provider.name} refused: the user denied access.")
    client.verifier = redirect["oauth_verifier"]
    response = yield _signed(client, provider.token_url)
    given = _form(provider, response)
    tokens = Tokens(given["oauth_token"], secret=given["oauth_token_secret"])
    return Grant(tokens, (), {})


def revocation(provider: Provider, sign_in: SignInConfig, tokens: Tokens) -> httpx.Request | None:
    """Return the request to revoke a sign-in at the provider (RFC 7009); None if not supported."""
    if provider.revoke_url is None:
        return None
    token = tokens.refresh_token or tokens.access_token
    hint = "access_token" if tokens.refresh_token is None else "refresh_token"
    named = provider.named("token")
    parameters = {named: token} if named != "token" else {"token": token, "token_type_hint": hint}
    request = _as_client(provider, sign_in, provider.revoke_url, parameters)
    if provider.header[0] != "Authorization":
        request.headers[provider.header[0]] = f"{provider.header[1]}{tokens.access_token}"
    return request


def _as_client(
    provider: Provider, sign_in: SignInConfig, url: str, parameters: Mapping[str, str]
) -> httpx.Request:
    """Return a request authenticated with the app's id and secret (RFC 6749, section 2.3.1)."""
    headers = {"Accept": "application/json"}
    if provider.client_auth == "basic":
        headers["Authorization"] = basic(sign_in.client_id, sign_in.secret or "")
        return httpx.Request("POST", url, data=parameters, headers=headers)
    client = {provider.named("client_id"): sign_in.client_id}
    if sign_in.secret is not None:
        client[provider.named("client_secret")] = sign_in.secret
    if provider.body == "json":
        return httpx.Request("POST", url, json={**parameters, **client}, headers=headers)
    return httpx.Request("POST", url, data={**parameters, **client}, headers=headers)


def _signed(client: Any, url: str) -> httpx.Request:
    _, headers, _ = client.sign("POST", url, {}, b"")
    return httpx.Request("POST", url, headers={"Authorization": headers["Authorization"]})


def _object(provider: Provider, response: httpx.Response) -> Mapping[str, Any]:
    try:
        found: Any = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        found = None
    if not response.is_success or not isinstance(found, dict) or "error" in found:
        raise _no_token(provider, response)
    return found


def _answer(provider: Provider, response: httpx.Response) -> Mapping[str, Any]:
    """Return the object with the token. Raises DestinationRefused with the provider's message if there is
    none."""
    answer: Any = _object(provider, response)
    if provider.envelope is not None:
        message = answer.get("message")
        answer = answer.get(provider.envelope)
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise DestinationRefused(f"{provider.name} returned no token: {message}. {_CHECK}")
    if not isinstance(answer.get("access_token") or answer.get("token"), str):
        raise _no_token(provider, response)
    return {"access_token": answer.get("token"), **answer}


def _form(provider: Provider, response: httpx.Response) -> Mapping[str, str]:
    """Parse the parameters of an OAuth 1.0a response."""
    found = dict(parse_qsl(response.text))
    if not response.is_success or not {"oauth_token", "oauth_token_secret"} <= found.keys():
        raise _no_token(provider, response)
    return found


def _settings(provider: Provider, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the configuration keys in the provider's response. Raises DestinationRefused for one that is
    missing or not valid in a URL."""
    found = {}
    for said, name in provider.settings.items():
        value = str(about.get(said) or "")
        is_address = urlsplit(value).scheme in ("http", "https") and bool(urlsplit(value).netloc)
        if not is_address and not value.replace("-", "").isalnum():
            raise DestinationRefused(
                f"{provider.name} did not return a valid {said} of the account. Sign in again."
            )
        found[name] = value.rstrip("/")
    return found


_CHECK = "Compare client_id, client_secret and redirect_uri of sign_in: with the app."


def _no_token(provider: Provider, response: httpx.Response) -> DestinationRefused:
    reason = _words(response) or why(response.content)
    return DestinationRefused(f"{provider.name} returned no token: {response.status_code} {reason}. {_CHECK}")


def _words(response: httpx.Response) -> str:
    """Return X's error message, from JSON or a form, without the rest of the response."""
    try:
        errors = orjson.loads(response.content)["errors"]
        return ", ".join(f"{each['message']} ({each['code']})" for each in errors)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        form = dict(parse_qsl(response.text))
        return ", ".join(form[name] for name in ("error", "error_description") if name in form)


def _error_in(said: Mapping[str, str]) -> str:
    words = [said["error"], *filter(None, [said.get("error_description")])]
    return " ".join(": ".join(words).split())[:300].rstrip(".")
