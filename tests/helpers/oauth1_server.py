"""A provider of OAuth 1.0a: oauthlib's server, which checks every signature, nonce and callback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oauthlib.oauth1 import RequestValidator, WebApplicationServer

from tests.helpers.http import JsonHandler, LoopbackServer

KEY, KEY_SECRET = "consumerkey", "consumersecret42a1"


class Validator(RequestValidator):  # type: ignore[misc]
    """What the server knows, in memory."""

    enforce_ssl = False
    client_key_length = request_token_length = access_token_length = (1, 60)
    nonce_length = (8, 60)
    verifier_length = (1, 60)
    dummy_client = dummy_request_token = dummy_access_token = "nobody"

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.verifiers: dict[str, str] = {}
        self.given: dict[str, str] = {}
        self.nonces: set[tuple[str, str]] = set()

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == KEY

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return KEY_SECRET

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, request: Any, **_: Any
    ) -> bool:
        is_new = (timestamp, nonce) not in self.nonces
        self.nonces.add((timestamp, nonce))
        return is_new

    def validate_redirect_uri(self, client_key: str, redirect_uri: str, request: Any) -> bool:
        return redirect_uri == "oob" or redirect_uri.startswith("http://127.0.0.1:")

    def get_default_realms(self, client_key: str, request: Any) -> list[str]:
        return []

    def get_realms(self, token: str, request: Any) -> list[str]:
        return []

    def validate_requested_realms(self, client_key: str, realms: Any, request: Any) -> bool:
        return True

    def validate_realms(self, *_: Any, **__: Any) -> bool:
        return True

    def save_request_token(self, token: dict[str, Any], request: Any) -> None:
        self.asked[token["oauth_token"]] = {**token, "callback": request.redirect_uri}

    def verify_request_token(self, token: str, request: Any) -> bool:
        return token in self.asked

    def validate_request_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.asked

    def get_request_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return str(self.asked[token]["oauth_token_secret"])

    def get_redirect_uri(self, token: str, request: Any) -> str:
        return str(self.asked[token]["callback"])

    def save_verifier(self, token: str, verifier: dict[str, str], request: Any) -> None:
        self.verifiers[token] = verifier["oauth_verifier"]

    def validate_verifier(self, client_key: str, token: str, verifier: str, request: Any) -> bool:
        return self.verifiers.get(token) == verifier

    def invalidate_request_token(self, client_key: str, request_token: str, request: Any) -> None:
        del self.asked[request_token]

    def save_access_token(self, token: dict[str, str], request: Any) -> None:
        self.given[token["oauth_token"]] = token["oauth_token_secret"]

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.given

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.given[token]

    def validate_realm(self, *_: Any, **__: Any) -> bool:
        return True


@contextmanager
def oauth1_server() -> Iterator[tuple[str, Validator]]:
    """Its address, and what it knows. `/authorize` grants at once, by redirect or with a PIN; with `deny` in
    its query the user denies. `/api/…` takes signed calls."""
    known = Validator()
    endpoint = WebApplicationServer(known)

    class Handler(JsonHandler):
        def _whole(self) -> str:
            return f"http://127.0.0.1:{self.server.server_port}{self.path}"  # type: ignore[attr-defined]

        def _send(self, headers: Any, body: str | None, status: int) -> None:
            content = (body or "").encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:  # noqa: N802  the name that http.server calls
            made = {
                "/request_token": endpoint.create_request_token_response,
                "/access_token": endpoint.create_access_token_response,
            }[self.path]
            self._send(*made(self._whole(), "POST", "", {"Authorization": self.headers["Authorization"]}))

        def do_GET(self) -> None:  # noqa: N802
            if self.path.startswith("/api/"):
                signed = {"Authorization": self.headers.get("Authorization", "")}
                is_valid, _ = endpoint.validate_protected_resource_request(
                    self._whole(), "GET", "", signed, []
                )
                self.answer(200 if is_valid else 401, {"data": {}} if is_valid else {"errors": []})
                return
            query = parse_qs(urlsplit(self.path).query)
            token = query["oauth_token"][0]
            if "deny" in query:
                location = f"{known.asked[token]['callback']}?denied={token}"
                self._send({"Location": location}, None, 302)
                return
            self._send(*endpoint.create_authorization_response(self._whole(), "GET", "", {}, []))

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", known
    finally:
        server.shutdown()
        thread.join()
