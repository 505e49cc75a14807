"""Sign in to destinations and sign out: docs/how-to/signing-in.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from revetl.auth.flows import Grant, Visit, flow_of, revocation
from revetl.auth.redirects import PATH, Loopback, is_caught, open_browser, pasted
from revetl.config.base import check
from revetl.config.jinja import render
from revetl.destinations import destination_class
from revetl.destinations.auth.providers import (
    PORT,
    PROVIDERS,
    Provider,
    provider_of,
)
from revetl.destinations.auth.sign_in import SignInConfig
from revetl.destinations.auth.store import (
    Place,
    SignIn,
    SignIns,
    has_keyring,
)
from revetl.errors import DestinationRefused, Locked, RevetlError, UsageError, nearest
from revetl.observability import logs
from revetl.project.workspace import Workspace

_RELEVANT = ("type", "sign_in", "login_url", "instance_url", "base_url", "api", "region")
_REQUEST_SECONDS = 30.0
_LOCK_SECONDS = 60.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class SignInOptions:
    """The options of a sign-in. `paste` prompts for the final address of the browser, instead of catching the
    redirect. Without `store`, tokens are stored in the keyring, if the system has one."""

    browser: bool = True
    paste: Callable[[], str] | None = None
    port: int | None = None
    store: Place | None = None
    timeout: float = 300.0


State = Literal["signed in", "not signed in", "signed in to another app", "not in revetl.yml", "not readable"]


@dataclass(frozen=True)
class Status:
    """The status of a sign-in, without its tokens. `renews`: it doesn't expire."""

    destination: str
    type: str
    state: State
    signed_in_at: str | None = None
    kept_in: Place | None = None
    expires_at: str | None = None
    renews: bool | None = None
    scopes: tuple[str, ...] = ()
    account: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _App:
    """The OAuth app of a destination."""

    name: str
    type: str
    provider: Provider
    config: SignInConfig


def sign_in(workspace: Workspace, name: str, options: SignInOptions, say: Say) -> SignIn:
    """Let the user sign in to a destination, and store the tokens. Raises UsageError for a configuration
    without a valid app, and DestinationRefused if the provider or the user refuses."""
    app = _app(workspace, name)
    provider, config = app.provider, app.config
    if provider.has_secret and config.secret is None:
        raise UsageError(
            f"{_place(name)}.sign_in.client_secret is missing: {provider.name} requires it. Add it."
        )
    if config.secret is not None:
        logs.hide(config.secret)
    sign_ins = workspace.sign_ins
    kept_in: Place = options.store or ("keyring" if has_keyring() else "file")
    granted = _granted(app, options, say)
    made = SignIn(
        project=sign_ins.project,
        destination=name,
        type=app.type,
        client_id=config.client_id,
        token_url=provider.token_url,
        signed_in_at=datetime.now(UTC).isoformat(timespec="seconds"),
        kept_in=kept_in,
        tokens=granted.tokens,
        scopes=granted.scopes,
        settings=granted.settings,
    )
    logs.hide(*made.secrets)
    with _held(sign_ins, name):
        sign_ins.write(made)
    if provider.expires and granted.tokens.refresh_token is None:
        say(
            f"Warning: {provider.name} returned no refresh token. The sign-in expires with its access token"
            f"{_until(granted.tokens.expires_at)}."
        )
    return made


def sign_out(workspace: Workspace, name: str, say: Say, *, revoke: bool = True) -> bool:
    """Remove the sign-in of a destination, and revoke it if the provider supports that. Returns whether there
    was one. If revoking fails, it is removed with a warning."""
    sign_ins = workspace.sign_ins
    with _held(sign_ins, name):
        if revoke:
            try:
                _revoke(workspace, name, say)
            except RevetlError as error:
                say(f"Warning: the sign-in was not revoked: {error} Remove the app's access at the provider.")
        return sign_ins.remove(name)


def statuses(workspace: Workspace, name: str | None = None) -> list[Status]:
    """Return the status of every destination with `sign_in:` or a stored sign-in. Raises UsageError for a
    `name` with neither."""
    sign_ins = workspace.sign_ins
    asking = [each for each, config in workspace.config.destinations.items() if config.get("sign_in")]
    names = list(dict.fromkeys([*asking, *sign_ins.names()]))
    if name is not None and name not in names:
        raise UsageError(f"'{name}' has no sign-in. {nearest(name, names)}")
    return [_status(workspace, each) for each in names if name in (None, each)]


def _status(workspace: Workspace, name: str) -> Status:
    written = workspace.config.destinations.get(name, {})
    status = Status(name, str(written.get("type", "")), "not signed in")
    try:
        found = workspace.sign_ins.read(name)
        if found is None:
            return status
        state: State = "not in revetl.yml"
        if written.get("sign_in"):
            app = _app(workspace, name, placeholders=True)
            is_same = app.config.client_id in (found.client_id,) or app.config.client_id.startswith("<")
            state = "signed in" if is_same else "signed in to another app"
    except RevetlError as error:
        return replace(status, state="not readable", problem=str(error))
    provider = provider_of(found.type)
    expires_at = found.tokens.expires_at
    return replace(
        status,
        type=found.type,
        state=state,
        signed_in_at=found.signed_in_at,
        kept_in=found.kept_in,
        expires_at=None
        if expires_at is None
        else f"{datetime.fromtimestamp(expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        renews=found.tokens.refresh_token is not None or (provider is not None and not provider.expires),
        scopes=found.scopes,
        account=", ".join(found.settings.values()) or None,
    )


def _app(workspace: Workspace, name: str, *, placeholders: bool = False) -> _App:
    """Return the app in a destination's configuration. Raises UsageError with the key in revetl.yml."""
    there = workspace.config.destinations
    if name not in there:
        raise UsageError(f"revetl.yml has no destination '{name}'. {nearest(name, there)}")
    written, place = there[name], _place(name)
    kind = str(written.get("type"))
    destination_class(written.get("type"), place)
    if provider_of(kind) is None:
        kinds = sorted({each.partition(".")[0] for each in PROVIDERS})
        raise UsageError(
            f"{place}: {kind} has no sign-in. Reference its credentials in revetl.yml; see "
            f"`revetl destinations show {kind}`. Types with a sign-in are {', '.join(kinds)}."
        )
    if not isinstance(written.get("sign_in"), Mapping):
        provider = provider_of(kind)
        assert provider is not None
        raise UsageError(
            f"{place}.sign_in is missing. Register an app with {provider.name}"
            f"{f' ({provider.register})' if provider.register else ''}, and add "
            "sign_in: {client_id: …, client_secret: …}."
        )
    # Render only the keys that the provider's URLs may use: signing in doesn't require other secrets.
    relevant = {key: written[key] for key in _RELEVANT if key in written}
    rendered: dict[str, Any] = render(relevant, place, placeholders=placeholders)
    config = check(SignInConfig, rendered["sign_in"], f"{place}.sign_in")
    found = provider_of(kind, rendered)
    assert found is not None
    return _App(name, kind, config.of(found, rendered), config)


def _place(name: str) -> str:
    return f"revetl.yml: destinations.{name}"


def _granted(app: _App, options: SignInOptions, say: Say) -> Grant:
    redirect_uri = _redirect_uri(app, options)
    if options.paste is not None or redirect_uri is None or not is_caught(redirect_uri):
        if options.paste is None:
            raise UsageError(
                f"{app.provider.name} does not redirect to this machine"
                f"{'' if redirect_uri is None else f' ({redirect_uri})'}. Use --paste."
            )
        paste = options.paste
        return _run(app, redirect_uri, lambda visit: _by_paste(visit, app, redirect_uri, options, say, paste))
    with Loopback(redirect_uri) as loopback:
        strayed = "Warning: ignored a redirect that does not belong to this sign-in."
        loopback.on_stray = lambda: say(strayed)
        return _run(
            app, loopback.redirect_uri, lambda visit: _by_loopback(visit, app, loopback, options, say)
        )


def _redirect_uri(app: _App, options: SignInOptions) -> str | None:
    """Return the redirect URI; None if the provider shows a code instead."""
    config, provider = app.config, app.provider
    if config.redirect_uri is not None:
        return config.redirect_uri
    if provider.is_oauth1 and options.paste is not None:
        return None
    if provider.redirect == "https":
        raise UsageError(
            f"{_place(app.name)}.sign_in.redirect_uri is missing. {provider.name} only redirects to https. "
            "Set it to an address registered for the app, for example https://localhost/callback; it does "
            "not have to exist."
        )
    port = options.port or config.port or (0 if provider.any_port else PORT)
    return f"http://{provider.redirect}:{port}{PATH}"


def _by_loopback(
    visit: Visit, app: _App, loopback: Loopback, options: SignInOptions, say: Say
) -> Mapping[str, str]:
    loopback.expect(visit)
    opened = options.browser and open_browser(visit.url)
    how = "Opening the browser. If it does not open, visit" if opened else "Visit"
    say(f"{how} this address to sign in to {app.provider.name}:\n\n  {visit.url}\n")
    say(f"Waiting for the redirect to {loopback.redirect_uri} …")
    return loopback.wait(options.timeout)


def _by_paste(
    visit: Visit,
    app: _App,
    redirect_uri: str | None,
    options: SignInOptions,
    say: Say,
    paste: Callable[[], str],
) -> Mapping[str, str]:
    if options.browser:
        open_browser(visit.url)
    say(
        f"Visit this address in a browser on any machine to sign in to {app.provider.name}:\n\n"
        f"  {visit.url}\n"
    )
    if redirect_uri is None:
        say("Then paste the code from the page here.")
    else:
        say(
            f"The browser ends at an address that begins with {redirect_uri}, which may show an error. Copy "
            "the complete address from the browser and paste it here."
        )
    return pasted(paste(), visit)


def _run(app: _App, redirect_uri: str | None, visited: Callable[[Visit], Mapping[str, str]]) -> Grant:
    flow = flow_of(app.provider, app.config, redirect_uri)
    step = next(flow)
    while True:
        came: Any = visited(step) if isinstance(step, Visit) else _sent(app.provider, step)
        try:
            step = flow.send(came)
        except StopIteration as done:
            granted: Grant = done.value
            return granted


def _sent(provider: Provider, request: httpx.Request) -> httpx.Response:
    """Send a request. Raises DestinationRefused if there is no response."""
    try:
        with httpx.Client(timeout=_REQUEST_SECONDS) as client:
            return client.send(request)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise DestinationRefused(
            f"Could not reach {provider.name} at {request.url.host}: {why}. Check the network and sign in "
            "again."
        ) from None


def _revoke(workspace: Workspace, name: str, say: Say) -> None:
    found = workspace.sign_ins.read(name)
    if found is None:
        return
    logs.hide(*found.secrets)
    app = _app(workspace, name)
    if app.config.client_id != found.client_id:
        raise UsageError(f"the stored sign-in of {name} is for the client_id {found.client_id}.")
    request = revocation(app.provider, app.config, found.tokens)
    if request is None:
        say(f"{app.provider.name} has no API to revoke a sign-in. Remove the app's access there.")
        return
    response = _sent(app.provider, request)
    if not response.is_success:
        raise DestinationRefused(f"{app.provider.name} returned {response.status_code}.")


@contextmanager
def _held(sign_ins: SignIns, name: str) -> Iterator[None]:
    """Hold the lock of a sign-in. Raises Locked if another process keeps it."""
    locked = sign_ins.lock(name)
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while not locked.take():
            if time.monotonic() > until:
                raise Locked(
                    f"Another process has been renewing the sign-in of {name} for a minute. Try again later."
                )
            time.sleep(0.05)
        yield
        locked.give_back()
    finally:
        locked.close()


def _until(moment: float | None) -> str:
    return "" if moment is None else f", on {datetime.fromtimestamp(moment, UTC):%Y-%m-%d at %H:%M} UTC"
