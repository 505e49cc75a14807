"""Signing in to X, by OAuth 1.0a, at oauthlib's server over real HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from revetl.auth import SignInOptions
from revetl.delivery.connection_check import probed
from revetl.destinations.auth.store import FOLDER
from revetl.errors import DestinationRefused
from tests.helpers.oauth1_server import KEY, KEY_SECRET, oauth1_server
from tests.helpers.project import ProjectFolder


@pytest.mark.parametrize("way", ["redirect", "PIN", "denied", "wrong secret"])
def test_a_user_signs_in_to_x(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "sign-ins"))
    with oauth1_server() as (url, known):
        sign_in = {
            "client_id": KEY,
            "client_secret": "another" if way == "wrong secret" else KEY_SECRET,
            "request_token_url": f"{url}/request_token",
            "authorize_url": f"{url}/authorize" + ("?deny=1" if way == "denied" else ""),
            "token_url": f"{url}/access_token",
            "redirect_uri": None if way == "PIN" else "http://127.0.0.1:0/callback",
        }
        crm = {"type": "twitter_ads", "account_id": "18ce", "base_url": f"{url}/api", "sign_in": sign_in}
        folder = ProjectFolder(tmp_path / "shop", {"crm": crm})
        folder.declare("vips", {"key": "user_id", "sync": [{"to": "crm"}]})
        pins: list[str] = []

        def visit(message: str) -> None:
            for line in message.splitlines():
                if line.strip().startswith(url):
                    if way == "PIN":
                        pins.extend(parse_qs(httpx.get(line.strip()).text)["oauth_verifier"])
                    else:
                        threading.Thread(
                            target=httpx.get,
                            args=(line.strip(),),
                            kwargs={"follow_redirects": True},
                            daemon=True,
                        ).start()

        paste = (lambda: pins[0]) if way == "PIN" else None
        options = SignInOptions(browser=False, paste=paste, store="file", timeout=20)
        project = folder.open()
        if way == "wrong secret":
            with pytest.raises(
                DestinationRefused, match=r"X returned no token: 401 .*Compare client_id"
            ) as refused:
                project.sign_in("crm", options, say=visit)
            assert "another" not in str(refused.value)
            return
        if way == "denied":
            with pytest.raises(DestinationRefused, match="X refused: the user denied access"):
                project.sign_in("crm", options, say=visit)
            return
        made = project.sign_in("crm", options, say=visit)
        assert (known.given, made.tokens.refresh_token) == (
            {made.tokens.access_token: made.tokens.secret},
            None,
        )
        assert probed(project.workspace.destination(project.sync_named("vips.crm"))).endswith("answers 200")
        (status,) = project.sign_ins()
        assert (status.state, status.renews) == ("signed in", True)
