"""What twitter_ads signs, beside oauthlib, another implementation of RFC 5849; and what it sends, sent by X's
own SDK to the sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any
from urllib.parse import unquote

import httpx
import orjson
import pytest

from revetl.destinations import make_destination
from tests.conftest import SandboxClient
from tests.destinations.test_cases import Player

KEYS = {
    "consumer_key": "CONSUMER",
    "consumer_secret": "consumer+secret/=",
    "access_token": "123-TOKEN",
    "access_token_secret": "token&secret%",
}
EMAIL = hashlib.sha256(b"ada@example.com").hexdigest()


def sent(operation: str, audience: str, **config: str) -> list[httpx.Request]:
    """The requests that we make of one person."""
    destination = make_destination({"type": "twitter_ads", "account_id": "18ce5", **KEYS, **config}, "case")
    found: Any = {"id": "1001", "name": audience}
    answer = {"status": 200, "body": {"data": found if operation == "create_audience" else [found]}}
    case = {
        "operation": operation,
        "audience": audience,
        "records": [{"email": "ada@example.com"}],
        "responses": [] if "audience_id" in config else [answer],
    }
    player = Player(destination, case)
    asyncio.run(player.play())
    return player.sent


def signed(header: str) -> dict[str, str]:
    """The parameters of an `Authorization`."""
    return {name: unquote(value) for name, value in re.findall(r'(oauth_\w+)="([^"]*)"', header)}


@pytest.mark.parametrize("operation", ["create_audience", "add", "remove"])
@pytest.mark.parametrize("audience", ["vips", 'very "high" churn 🎯', "a+b&c=d %41/é~"])
def test_the_signature_is_the_one_that_oauthlib_makes(operation: str, audience: str) -> None:
    oauth1 = pytest.importorskip("oauthlib.oauth1")
    requests = sent(operation, audience)
    assert requests
    for request in requests:
        ours = signed(request.headers["authorization"])
        client = oauth1.Client(
            KEYS["consumer_key"],
            client_secret=KEYS["consumer_secret"],
            resource_owner_key=KEYS["access_token"],
            resource_owner_secret=KEYS["access_token_secret"],
            nonce=ours["oauth_nonce"],
            timestamp=ours["oauth_timestamp"],
        )
        _, headers, _ = client.sign(str(request.url), http_method=request.method)
        assert ours == signed(headers["Authorization"])


def test_the_sdk_does_at_the_sandbox_what_we_do(
    sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, http, audience = (
        pytest.importorskip(f"twitter_ads.{name}") for name in ("client", "http", "audience")
    )
    monkeypatch.setattr(http.Request, "_DEFAULT_DOMAIN", f"{sandbox.url}/twitter_ads")
    account: Any = client.Client(*KEYS.values()).accounts("18ce5")
    made: Any = audience.CustomAudience.create(account, "vips")
    (ours,) = sent("add", "vips", audience_id=made.id)
    assert made.users(orjson.loads(ours.content)) == (1, 1)
    log = [(entry["method"], entry["path"]) for entry in sandbox.requests("twitter_ads")]
    # The SDK has the version before.
    assert log[-1] == (ours.method, f"/twitter_ads{ours.url.path}".replace("/12/", "/11/"))
    assert list(sandbox.members("twitter_ads", "vips")) == [EMAIL]
    (away,) = sent("remove", "vips", audience_id=made.id)
    assert made.users(orjson.loads(away.content)) == (1, 1)
    assert not sandbox.members("twitter_ads", "vips")
