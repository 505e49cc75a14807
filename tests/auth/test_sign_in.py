"""Sign in at a real provider process (django-oauth-toolkit) over real HTTP, with a scripted browser."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click.testing
import httpx
import keyring
import orjson
import pytest
from keyring.backend import KeyringBackend

from revetl.auth import SignInOptions
from revetl.cli import cli
from revetl.delivery.connection_check import probed
from revetl.destinations.auth.providers import PROVIDERS, provider_of
from revetl.destinations.auth.sign_in import SignInConfig
from revetl.destinations.auth.store import FOLDER, SignIn
from revetl.errors import DestinationRefused, RevetlError, UsageError
from revetl.local.private_files import write_private
from revetl.observability import logs
from revetl.project.workspace import Workspace
from tests.helpers.browser import browse
from tests.helpers.project import ProjectFolder
from tests.helpers.provider import ACCOUNT, CLIENT_ID, CLIENT_SECRET, PLAIN_ID

SECRET = "AN_APPS_SECRET"
HTTPS = "https://localhost/callback"
CONFIG: dict[str, dict[str, Any]] = {
    "salesforce": {"object": "Contact", "external_id_field": "Shop_Id__c"},
    "hubspot": {},
    "google_ads": {"customer_id": "123", "developer_token": "D"},
    "google_ads.data_manager": {"customer_id": "123", "api": "data_manager"},
    "google_conversions": {"customer_id": "123", "conversion_action_id": "7001"},
    "linkedin_ads": {"ad_account_id": "5"},
    "tiktok_ads": {"advertiser_id": "7"},
    "snap_ads": {"ad_account_id": "a"},
    "mailchimp": {"list_id": "l"},
    "intercom": {},
    "intercom.eu": {"region": "eu"},
    "intercom.au": {"region": "au"},
    "pipedrive": {},
}
"""What each needs besides: every one of PROVIDERS of OAuth 2 whose connector there is."""


@dataclass
class Provider:
    """The provider's process."""

    url: str
    folder: Path

    def asked(self, what: str) -> int:
        """How often a token was given for a grant, since the provider began."""
        log = self.folder / "asked"
        return log.read_text().splitlines().count(f"{what} 200") if log.exists() else 0

    def renew(self, refresh_token: str | None) -> int:
        """The status of a renewal by this refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": CLIENT_ID}
        return httpx.post(f"{self.url}/o/token/", data={**form, "client_secret": CLIENT_SECRET}).status_code


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("provider")
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-m", "tests.helpers.provider", str(folder)], cwd=root)
    port = folder / "port"
    until = time.monotonic() + 60
    while not port.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    yield Provider(f"http://127.0.0.1:{port.read_text()}", folder)
    process.kill()
    process.wait()


@dataclass
class User:
    """Somebody at a terminal, with a browser. `said` is what they were shown."""

    how: str = "allow"
    said: list[str] = field(default_factory=list)
    address: str = ""

    def hear(self, message: str) -> None:
        """Open the address that is shown, as a person does."""
        self.said.append(message)
        shown = [line.strip() for line in message.splitlines() if line.strip().startswith("http")]
        if shown and self.how == "copy":
            self.address = browse("copy", shown[0])
        elif shown and self.how != "away":
            threading.Thread(target=browse, args=(self.how, shown[0]), daemon=True).start()

    @property
    def options(self) -> SignInOptions:
        paste = (lambda: self.address) if self.how == "copy" else None
        return SignInOptions(browser=False, paste=paste, store="file", timeout=20)


@dataclass
class Shop:
    """A project with a destination `crm`, which is signed in to."""

    folder: ProjectFolder
    provider: Provider

    def configure(self, kind: str = "google_ads.data_manager", **block: Any) -> None:
        """Have `crm` be of a type, with its provider's rules and the test's addresses."""
        rules, url = PROVIDERS[kind], self.provider.url
        # As the tool sends where its own account is, or is told.
        address = {} if rules.settings and kind != "mailchimp" else {"base_url": f"{url}/api"}
        odd = "odd" if rules.body == "json" else "o"
        about = {"about_url": f"{url}/api/metadata"} if rules.about_url else {}
        redirect: dict[str, Any] = (
            {"redirect_uri": HTTPS} if rules.redirect == "https" else {"port": free_port()}
        )
        sign_in = {
            "client_id": CLIENT_ID if rules.pkce else PLAIN_ID,
            "client_secret": f"{{{{ env_var('{SECRET}') }}}}",
            "authorize_url": f"{url}/{odd}/authorize/",
            "token_url": f"{url}/{odd}/token/",
            "revoke_url": f"{url}/o/revoke_token/",
            "scopes": ["people", "lists"],
            **about,
            **redirect,
            **block,
        }
        config = {"type": kind.partition(".")[0], **CONFIG[kind], **address, "sign_in": sign_in}
        self.folder.destinations({"crm": config})
        mode = "audience_events" if kind == "google_conversions" else "mirror"
        self.folder.declare("vips", {"key": "user_id", "sync": [{"to": "crm", "mode": mode}]})

    @property
    def workspace(self) -> Workspace:
        return self.folder.open().workspace

    def sign_in(self, user: User | None = None) -> SignIn:
        """Sign in to `crm`."""
        user = user or User()
        return self.folder.open().sign_in("crm", user.options, say=user.hear)

    def stored(self) -> SignIn:
        """What is stored."""
        found = self.workspace.sign_ins.read("crm")
        assert found is not None
        return found

    def expire(self) -> SignIn:
        """Have the stored access token be over."""
        found = self.stored()
        self.workspace.sign_ins.write(replace(found, tokens=replace(found.tokens, expires_at=1.0)))
        return found

    def probe(self) -> str:
        """Ask the tool something with the stored sign-in."""
        project = self.folder.open()
        return probed(project.workspace.destination(project.sync_named("vips.crm")))


@pytest.fixture
def shop(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv(FOLDER, str(tmp_path / "sign-ins"))
    monkeypatch.setenv(SECRET, CLIENT_SECRET)
    (provider.folder / "slow").unlink(missing_ok=True)
    folder = ProjectFolder(tmp_path / "shop")
    made = Shop(folder, provider)
    made.configure()
    return made


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def test_every_provider_has_a_case() -> None:
    two = {kind for kind, each in PROVIDERS.items() if not each.is_oauth1}
    assert two == CONFIG.keys()


@pytest.mark.parametrize("kind", CONFIG)
def test_what_a_user_granted_is_what_calls_are_made_with(shop: Shop, kind: str) -> None:
    shop.configure(kind)
    rules = PROVIDERS[kind]
    made = shop.sign_in(User("copy" if rules.redirect == "https" else "allow"))
    assert (made.type, set(made.scopes), shop.stored()) == (kind.partition(".")[0], {"people", "lists"}, made)
    project = shop.folder.open()
    destination = project.workspace.destination(project.sync_named("vips.crm"))
    host = httpx.URL(destination.base_url).host
    assert host == (
        httpx.URL(ACCOUNT).host if {"instance_url", "api_domain"} & rules.settings.keys() else "127.0.0.1"
    )
    if kind == "mailchimp":
        assert made.settings == {"server": "us6"}
    # The provider takes a call only with the token that it gave.
    request = destination.probe()
    with_token = _authorized(destination.auth(), request)
    path = f"{shop.provider.url}/api{request.url.path.removeprefix('/api')}"
    answer = httpx.request(request.method, path, headers={with_token[0]: with_token[1]})
    assert (answer.status_code, made.tokens.access_token in with_token[1]) == (200, True)
    auth: Any = destination.auth()
    assert {made.tokens.access_token, *filter(None, [made.tokens.refresh_token])} <= auth.secrets
    # They change, and a budget is shared by what does not.
    assert (CLIENT_SECRET in destination.secrets(), set(made.secrets) & {*destination.secrets()}) == (
        True,
        set(),
    )


def _authorized(auth: Any, request: httpx.Request) -> tuple[str, str]:
    """The header that a call has its token in."""
    import asyncio

    async def first() -> httpx.Request:
        found: httpx.Request = await anext(auth.async_auth_flow(request))
        return found

    signed = asyncio.run(first())
    return next(
        (name, value) for name, value in signed.headers.items() if name in ("authorization", "access-token")
    )


REFUSED: dict[str, tuple[User, dict[str, Any], type[RevetlError], str]] = {
    "the user denies": (User("deny"), {}, DestinationRefused, "Google refused: access_denied"),
    "the app's secret is wrong": (
        User(),
        {"client_secret": "another-secret"},
        DestinationRefused,
        "Google returned no token: 401 invalid_client. Compare client_id, client_secret and redirect_uri of",
    ),
    "a scope that there is not": (
        User(),
        {"scopes": ["all"]},
        DestinationRefused,
        "Google refused: invalid_scope",
    ),
    "no secret": (
        User(),
        {"client_secret": None},
        UsageError,
        "revetl.yml: destinations.crm.sign_in.client_secret is missing: Google requires it.",
    ),
    "no https": (
        User(),
        {"token_url": "http://login.example.com/token"},
        UsageError,
        "revetl.yml: destinations.crm.sign_in: token_url: must start with https://",
    ),
    "https redirects to nobody": (
        User(),
        {"redirect_uri": HTTPS, "port": None},
        UsageError,
        f"Google does not redirect to this machine ({HTTPS}). Use --paste.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_sign_in_is_an_error_and_stores_nothing(shop: Shop, case: str) -> None:
    user, block, kind, words = REFUSED[case]
    shop.configure(**block)
    with pytest.raises(kind) as refused:
        shop.sign_in(user)
    assert words in str(refused.value)
    assert CLIENT_SECRET not in str(refused.value)
    assert shop.workspace.sign_ins.read("crm") is None


def test_a_redirect_of_another_page_is_ignored(shop: Shop) -> None:
    user = User("stray")
    shop.sign_in(user)
    assert "Warning: ignored a redirect that does not belong to this sign-in." in user.said


def test_a_port_that_another_program_has_is_named(shop: Shop) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        shop.configure(port=port)
        with pytest.raises(
            UsageError, match=f"Cannot listen for the redirect on port {port} .* set sign_in.port"
        ):
            shop.sign_in()


def test_a_redirect_that_does_not_come_is_not_waited_for_forever(shop: Shop) -> None:
    user = User("away")
    with pytest.raises(DestinationRefused, match=r"There was no redirect to http://127.0.0.1:.*--paste"):
        shop.folder.open().sign_in("crm", replace(user.options, timeout=0.2), say=user.hear)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HTTPS}?code=c&state=of-another-sign-in", "belongs to another sign-in: its state differs"),
        ("no address", "That is not the final address of the browser"),
    ],
)
def test_a_pasted_address_is_checked(shop: Shop, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        shop.folder.open().sign_in(
            "crm", SignInOptions(browser=False, paste=lambda: text), say=lambda _: None
        )


def test_nobody_else_can_read_a_sign_in_at_any_moment(shop: Shop, tmp_path: Path) -> None:
    before = os.umask(0)
    seen: set[int] = set()
    watching = True

    def watch() -> None:
        while watching:
            for file in (tmp_path / "held").iterdir():
                try:
                    seen.add(stat.S_IMODE(file.stat().st_mode))
                except FileNotFoundError:
                    continue

    (tmp_path / "held").mkdir()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        shop.sign_in()
        for turn in range(100):
            write_private(tmp_path / "held" / "token", f"{turn}\n")
    finally:
        watching = False
        watcher.join()
        os.umask(before)
    folder = shop.workspace.sign_ins.folder
    modes = {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
    assert (seen, modes, stat.S_IMODE(folder.stat().st_mode)) == ({0o600}, {0o600}, 0o700)


def test_a_sign_in_that_others_may_read_is_not_used(shop: Shop) -> None:
    shop.sign_in()
    path = shop.workspace.sign_ins.path("crm")
    path.chmod(0o644)
    with pytest.raises(UsageError, match=r"and is readable by others \(mode 0644\).* Run `chmod 600 "):
        shop.probe()
    path.chmod(0o600)
    assert shop.probe().endswith("answers 200")


def test_a_missing_sign_in_is_an_error_with_the_command(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"crm: is not signed in. Run `revetl auth crm`"):
        shop.probe()
    project = shop.folder.open()
    assert project.workspace.destination(project.sync_named("vips.crm"), placeholders=True).auth() is None


def test_an_expired_token_is_renewed_and_the_rotated_one_stored(shop: Shop) -> None:
    shop.sign_in()
    before = shop.expire()
    assert shop.probe().endswith("answers 200")
    after = shop.stored()
    assert after.tokens.refresh_token != before.tokens.refresh_token
    assert shop.provider.renew(before.tokens.refresh_token) == 400
    asked = shop.provider.asked("refresh_token")
    assert shop.probe().endswith("answers 200")
    assert shop.provider.asked("refresh_token") == asked  # the stored access token does


def test_a_refresh_token_that_ended_says_to_sign_in_again(shop: Shop) -> None:
    shop.sign_in()
    spent = shop.expire().tokens.refresh_token
    assert shop.provider.renew(spent) == 200  # by somebody who did not store what came of it
    with pytest.raises(
        DestinationRefused, match=r"invalid_grant.* Run `revetl auth crm` to sign in again"
    ) as said:
        shop.probe()
    assert str(spent) not in str(said.value)
    shop.sign_in()
    assert shop.probe().endswith("answers 200")


PROBE = """
import sys
from tests.helpers.project import ProjectFolder
from revetl.delivery.connection_check import probed
from pathlib import Path
project = ProjectFolder.existing(Path(sys.argv[1])).open()
print(probed(project.workspace.destination(project.sync_named("vips.crm"))))
"""


def _in_a_process(shop: Shop) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROBE, str(shop.folder.root)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_that_renew_at_once_lose_no_token(shop: Shop) -> None:
    shop.sign_in()
    before = shop.expire()
    asked = shop.provider.asked("refresh_token")
    (shop.provider.folder / "slow").write_text("1")
    processes = [_in_a_process(shop) for _ in range(3)]
    assert ["200" in process.communicate(timeout=120)[0] for process in processes] == [True] * 3
    assert shop.provider.asked("refresh_token") == asked + 1
    after = shop.stored().tokens.refresh_token
    assert after != before.tokens.refresh_token
    assert shop.provider.renew(after) == 200


@pytest.mark.slow
def test_a_process_killed_between_renewal_and_storing_leaves_a_file_that_can_be_read(shop: Shop) -> None:
    shop.sign_in()
    before = shop.expire()
    asked = shop.provider.asked("refresh_token")
    (shop.provider.folder / "slow").write_text("15")
    process = _in_a_process(shop)
    until = time.monotonic() + 120
    while shop.provider.asked("refresh_token") == asked:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (shop.provider.folder / "slow").unlink()
    assert shop.stored().tokens.refresh_token == before.tokens.refresh_token
    with pytest.raises(DestinationRefused, match="Run `revetl auth crm` to sign in again"):
        shop.probe()
    shop.sign_in()
    assert shop.probe().endswith("answers 200")


def test_another_app_asks_for_another_sign_in(shop: Shop) -> None:
    shop.sign_in()
    shop.configure(client_id="another-app")
    with pytest.raises(
        UsageError, match=r"client_id revetl-app, and the configuration has another-app. Run `revetl auth"
    ):
        shop.probe()
    assert [each.state for each in shop.folder.open().sign_ins()] == ["signed in to another app"]


def test_a_sign_in_is_listed_without_its_tokens_and_removed_with_its_rights(shop: Shop) -> None:
    made = shop.sign_in()
    options = ["--project-dir", str(shop.folder.root), "--profiles-dir", str(shop.folder.root)]
    run = click.testing.CliRunner()
    listed = run.invoke(cli, ["auth", "--list", "-o", "json", *options])
    (shown,) = orjson.loads(listed.stdout)
    assert (shown["destination"], shown["state"], shown["renews"]) == ("crm", "signed in", True)
    removed = run.invoke(cli, ["auth", "crm", "--remove", *options])
    assert removed.output == "Signed out of crm.\n"
    again = run.invoke(cli, ["auth", "crm", "--remove", *options])
    assert again.output == "Nobody has signed in to crm.\n"
    assert shop.provider.renew(made.tokens.refresh_token) == 400
    whole = listed.output + removed.output
    assert not [secret for secret in (*made.secrets, CLIENT_SECRET) if secret in whole]


class InMemory(KeyringBackend):
    """A keyring that forgets."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


def test_tokens_in_the_keyring_are_in_no_file(shop: Shop) -> None:
    before, ring = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ring)
    try:
        user = User()
        made = shop.folder.open().sign_in("crm", replace(user.options, store=None), say=user.hear)
        assert made.kept_in == "keyring"
        assert made.tokens.access_token not in shop.workspace.sign_ins.path("crm").read_text()
        shop.expire()
        assert shop.probe().endswith("answers 200")
        assert shop.stored().tokens.refresh_token != made.tokens.refresh_token
        shop.folder.open().sign_out("crm")
        assert ring.held == {}
    finally:
        keyring.set_keyring(before)


def test_no_secret_is_shown_or_logged(shop: Shop) -> None:
    user = User()
    made = shop.sign_in(user)
    shown = "\n".join(user.said)
    assert not [secret for secret in (*made.secrets, CLIENT_SECRET) if secret in shown]
    assert logs.redact(" ".join((*made.secrets, CLIENT_SECRET))) == "*** *** ***"


@pytest.mark.slow
def test_the_command_opens_the_browser_of_the_system(shop: Shop) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "revetl", "auth", "crm", "--project-dir", str(shop.folder.root)]
    browser = f"{sys.executable} -m tests.helpers.browser allow %s"
    done = subprocess.run(
        [*command, "--profiles-dir", str(shop.folder.root), "--timeout", "60", "--store", "file"],
        cwd=root,
        env={**os.environ, "BROWSER": browser},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Signed in to crm." in done.stderr) == (0, True), done.stderr
    assert not [
        secret for secret in (*shop.stored().secrets, CLIENT_SECRET) if secret in done.stderr + done.stdout
    ]


@pytest.mark.parametrize(
    ("kind", "config", "host"),
    [
        ("salesforce", {}, "login.salesforce.com"),
        ("salesforce", {"instance_url": "https://acme.my.salesforce.com/"}, "acme.my.salesforce.com"),
        ("salesforce", {"login_url": "https://test.salesforce.com"}, "test.salesforce.com"),
        ("intercom", {"region": "eu"}, "api.eu.intercom.io"),
        ("pipedrive", {"base_url": "https://acme.pipedrive.com"}, "oauth.pipedrive.com"),
    ],
)
def test_tokens_come_from_where_the_account_is(kind: str, config: dict[str, object], host: str) -> None:
    rules = provider_of(kind, config)
    assert rules is not None
    assert httpx.URL(SignInConfig(client_id="a").of(rules, config).token_url).host == host


def test_a_type_without_sign_in_is_an_error_with_the_types_that_have_one(shop: Shop) -> None:
    shop.folder.destinations({"crm": {"type": "braze", "region": "us-05", "api_key": "K"}})
    with pytest.raises(
        UsageError, match=r"crm: braze has no sign-in. .* Types with a sign-in are google_ads, "
    ):
        shop.sign_in()


def test_a_sign_in_beside_other_credentials_is_an_error(shop: Shop) -> None:
    shop.configure("hubspot")
    config = shop.workspace.config.destinations["crm"]
    shop.folder.destinations({"crm": {**config, "access_token": "T"}})
    with pytest.raises(UsageError, match="sign_in: and access_token: are two sets of credentials; keep one"):
        shop.folder.open().workspace.destination(shop.folder.open().sync_named("vips.crm"), placeholders=True)
    assert provider_of("hubspot") is not None
