"""How a webhook is reached, over real connections: client certificates, an authority of one's own, OAuth."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest

from revetl.delivery.flow_runner import converse
from revetl.delivery.http import Transport
from revetl.destinations import make_destination
from revetl.destinations.base.destination import Record, Records
from revetl.errors import DestinationRefused, UsageError
from tests.helpers.http import JsonHandler, LoopbackServer


@dataclass
class Seen:
    """A server, and what it was sent: method, path, Authorization, body."""

    url: str = ""
    requests: list[tuple[str, str, str | None, Any]] = field(default_factory=list)
    signatures: list[str | None] = field(default_factory=list)
    tokens: list[tuple[dict[str, list[str]], str | None]] = field(default_factory=list)


def serving(context: ssl.SSLContext | None = None) -> Iterator[Seen]:
    seen = Seen()

    class Handler(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802  the name that http.server calls
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            said = self.headers["authorization"]
            if self.path == "/token":
                seen.tokens.append((parse_qs(raw.decode()), said))
                answer = {"access_token": f"token-{len(seen.tokens)}", "expires_in": 3600}
                self.answer(200, answer)
                return
            seen.signatures.append(self.headers["x-revetl-signature"])
            seen.requests.append((self.command, self.path, said, orjson.loads(raw) if raw else None))
            self.answer(401 if said == "Bearer token-1" and len(seen.requests) == 2 else 200, {})

        do_DELETE = do_PUT = do_POST  # noqa: N815

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    if context is not None:
        # Hands are shaken in the thread of the connection, so that one that fails ends no other.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    seen.url = f"http{'' if context is None else 's'}://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield seen
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plain() -> Iterator[Seen]:
    yield from serving()


@dataclass
class Authority:
    """An authority of one's own, and files of a client's certificate that it signed."""

    made: Any
    folder: Path

    @property
    def ca_bundle(self) -> str:
        path = self.folder / "ca.pem"
        self.made.cert_pem.write_to_path(path)
        return str(path)

    def client(self, name: str = "client", password: bytes | None = None) -> dict[str, str]:
        from cryptography.hazmat.primitives import serialization as s

        issued = self.made.issue_cert("revetl@example.com")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        if password is not None:
            loaded = s.load_pem_private_key(key.read_bytes(), None)
            how = s.BestAvailableEncryption(password)
            key.write_bytes(loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, how))
        return {"certificate": str(certificate), "key": str(key)}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(pytest.importorskip("trustme").CA(), tmp_path)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def guarded(authority: Authority, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """A server that speaks to nobody without a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[request.param]
    authority.made.issue_cert("localhost").configure_cert(context)
    authority.made.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    yield from serving(context)


def send(operation: str = "add", count: int = 1, **config: Any) -> None:
    """Deliver a batch."""
    made = make_destination({"type": "webhook", "retries": 2, **config}, "case")
    person = Record("u1", {"id": "u1"}, {"email": "ada@example.com"}, "run")
    records = Records("vips.crm", "vips", "run", operation, (person,))

    async def deliver() -> None:
        async with Transport(made) as transport:
            for _ in range(count):
                await converse(transport, made.flow("mirror", records))

    asyncio.run(deliver())


def test_a_client_certificate_opens_the_door(guarded: Seen, authority: Authority) -> None:
    send(url=guarded.url, ca_bundle=authority.ca_bundle, client_certificate=authority.client())
    encrypted = authority.client("other", b"hush")
    send(url=guarded.url, ca_bundle=authority.ca_bundle, client_certificate={**encrypted, "password": "hush"})
    assert [each[:2] for each in guarded.requests] == [("POST", "/"), ("POST", "/")]


def test_without_one_a_sentence_says_so_at_once(guarded: Seen, authority: Authority) -> None:
    began = time.monotonic()
    with pytest.raises(DestinationRefused, match=r"^localhost .*client certificate.*Set client_certificate"):
        send(url=guarded.url, ca_bundle=authority.ca_bundle)
    assert time.monotonic() - began < 5
    stranger = Authority(type(authority.made)(), authority.folder).client("stranger")
    with pytest.raises(DestinationRefused, match="rejected the client certificate"):
        send(url=guarded.url, ca_bundle=authority.ca_bundle, client_certificate=stranger)
    assert guarded.requests == []


def test_who_signed_the_host_has_to_be_trusted(guarded: Seen, authority: Authority) -> None:
    with pytest.raises(
        DestinationRefused, match=r"^localhost has a certificate that is not trusted here: .*ca_bundle"
    ):
        send(url=guarded.url, client_certificate=authority.client())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"certificate": "nowhere.pem"}, "client_certificate.certificate: cannot read nowhere.pem"),
        ({"key": "nowhere.key"}, "client_certificate.key: cannot read nowhere.key"),
        ({"password": "wrong"}, "an encrypted key also needs its password"),
        ({}, "an encrypted key also needs its password"),
    ],
)
def test_files_that_cannot_be_used(change: dict[str, str], sentence: str, authority: Authority) -> None:
    client = {**authority.client("locked", b"hush"), **change}
    with pytest.raises(UsageError) as error:
        send(url="https://localhost:1", client_certificate=client)
    assert sentence in str(error.value)
    assert "wrong" not in str(error.value)


def test_a_bundle_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match="contains no PEM certificate"):
        send(url="https://localhost:1", ca_bundle=tmp_path / "ca.pem")


@pytest.mark.parametrize("client_auth", ["post", "basic"])
def test_tokens_of_the_client(plain: Seen, client_auth: str) -> None:
    client = {"client_id": "me:1", "client_secret": "hush", "client_auth": client_auth}
    asked = {"token_url": f"{plain.url}/token", "scope": "people:write", "audience": "https://api"}
    send(count=3, url=plain.url, oauth={**client, **asked})
    # The second request's token was refused, and renewed once.
    used = [each[2] for each in plain.requests]
    assert used == ["Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2"]
    form, header = plain.tokens[0]
    assert (form["grant_type"], form["scope"], form["audience"]) == (
        ["client_credentials"],
        ["people:write"],
        ["https://api"],
    )
    if client_auth == "basic":
        # openssl base64 of me%3A1:hush
        assert header == "Basic bWUlM0ExOmh1c2g="
        assert "client_secret" not in form
    else:
        assert (header, form["client_id"], form["client_secret"]) == (None, ["me:1"], ["hush"])


def test_tokens_by_a_refresh_token(plain: Seen) -> None:
    asked = {"token_url": f"{plain.url}/token", "client_id": "me", "refresh_token": "long-lived"}
    send(url=plain.url, oauth=asked)
    assert plain.tokens[0][0]["refresh_token"] == ["long-lived"]
    assert plain.requests[0][2] == "Bearer token-1"


def test_each_operation_has_its_method_and_url(plain: Seen) -> None:
    config: dict[str, Any] = {
        "url": f"{plain.url}/people",
        "body": {"mail": "${fields.email}"},
        "methods": {"remove": "DELETE", "update": "PUT"},
        "urls": {"remove": f"{plain.url}/people/${{id}}", "update": f"{plain.url}/people/${{fields.email}}"},
        "bodies": {"remove": None},
    }
    for operation in ("add", "update", "remove"):
        send(operation, secret="hush", **config)
    mail = {"mail": "ada@example.com"}
    assert [(method, path, body) for method, path, _, body in plain.requests] == [
        ("POST", "/people", mail),
        ("PUT", "/people/ada@example.com", mail),
        ("DELETE", "/people/u1", None),
    ]
    # printf /people/u1 | openssl dgst -sha256 -hmac hush: what has no body is signed by its address.
    assert plain.signatures[-1] == "sha256=a8652c154a10089c1420ad026338ff53da353611450ff483906b006665923126"
