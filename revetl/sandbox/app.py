"""The sandbox's routes: `/<destination>…` mocks an API, `/_/…` inspects and controls the sandbox."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from revetl.config.base import check
from revetl.errors import UsageError
from revetl.sandbox.apis import api_of
from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.owner import (
    MISDIRECTED,
    PROJECT_HEADER,
    SANDBOX_HEADER,
    is_local,
)
from revetl.sandbox.rules import MisbehaviorRule, MisbehaviorRules
from revetl.sandbox.store import HeldByDestination, Store

_LONGEST_NUMBER = 15
_PAGE = ApiResponse(200, "<!DOCTYPE html><html><title>Sign in</title></html>")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class DroppedConnection(Response):
    """Promises a body but sends none, so that the server has to close the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": head})


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, dict(headers or {}), media_type="application/json")


class Sandbox:
    """The state of a sandbox, and the handlers of its routes. `secrets` are webhook secrets by destination; a
    webhook without one accepts any signature. `project` is the id of the only project that may sync to it;
    without it, every project may."""

    def __init__(self, rules: list[MisbehaviorRule], secrets: Mapping[str, str], project: str | None) -> None:
        self._project = project
        self.rules = MisbehaviorRules(rules)
        self.store = Store()
        self._secrets = secrets

    async def play(self, request: Request) -> Response:
        """Respond to a request to a destination's API, applying its rules and the active failure rules."""
        theirs = request.headers.get(PROJECT_HEADER)
        if self._project is not None and theirs not in (None, self._project):
            said = f"This sandbox belongs to project {self._project}."
            return _json({"error": said}, MISDIRECTED, {SANDBOX_HEADER: self._project})
        name = request.path_params["destination"]
        raw = await request.body()
        query = request.scope["query_string"].decode("latin-1")
        path = request.url.path.removeprefix(f"/{name}")
        sent = ApiRequest(request.method, path, query, request.headers, raw)
        api = api_of(name, sent, self._secrets.get(name))
        if api is None:
            return _json({"error": f"no mock API at {path}"}, 404)
        held = self.store.of(name)
        held.api = api.name
        read = api.read(sent, held)
        call = read if isinstance(read, Call) else Call(None, [], "")
        rules = self.rules.take(name, call.ids)
        for rule in rules:
            if rule.kind == "slow":
                await asyncio.sleep(rule.seconds)
        answer = self._misbehave(rules, call)
        if answer is None:
            rejecting = [rule for rule in rules if rule.kind == "reject"]
            answer = api.apply(read, held, rejecting) if isinstance(read, Call) else read
        self._log(held, request, raw, call, answer)
        if answer is _PAGE:
            return Response(answer.body, 200, media_type="text/html")
        if any(rule.kind == "drop" for rule in rules):
            return DroppedConnection()
        if answer.body is None:
            return Response(b"", answer.status, dict(answer.headers))
        if isinstance(answer.body, str):
            return Response(answer.body, answer.status, dict(answer.headers), media_type="text/csv")
        return _json(answer.body, answer.status, answer.headers)

    def _misbehave(self, rules: list[MisbehaviorRule], call: Call) -> ApiResponse | None:
        """Return the response of a rule that prevents the call from being applied."""
        for rule in rules:
            if rule.kind == "drop" and rule.when == "before":
                return ApiResponse(0, None)
            if rule.kind == "page":
                return _PAGE
            if rule.status is not None and rule.kind in ("status", "reject"):
                headers = {} if rule.retry_after is None else {"Retry-After": f"{rule.retry_after:g}"}
                bad = next((i for i in call.ids if rule.kind == "reject" and rule.matches(i)), None)
                error = rule.reason if bad is None else f"{bad}: {rule.reason}"
                return ApiResponse(rule.status, {"error": error}, headers)
        return None

    @staticmethod
    def _log(held: HeldByDestination, request: Request, raw: bytes, call: Call, answer: ApiResponse) -> None:
        held.log.append(
            {
                "seq": len(held.log) + 1,
                "method": request.method,
                "path": request.url.path,
                "status": answer.status,
                "operation": call.operation,
                "ids": call.ids,
                "message_ids": call.message_ids,
                "bytes": len(raw),
                "applied": answer.applied,
                "at": datetime.now(UTC).isoformat(),
            }
        )

    async def about(self, _: Request) -> Response:
        text = "A sandbox: it mocks destinations' APIs, and sends nothing elsewhere."
        about = {"revetl": text, "simulated": True, "destinations": self.store.names()}
        return _json({**about, "project": self._project})

    async def members(self, request: Request) -> Response:
        return _json(self.store.of(request.path_params["destination"]).as_json())

    async def requests(self, request: Request) -> Response:
        held = self.store.of(request.path_params["destination"])
        if request.method == "DELETE":
            held.log.clear()
        asked = request.query_params.get("since", "0")
        if not asked.isascii() or not asked.isdigit() or len(asked) > _LONGEST_NUMBER:
            return _json({"error": f"since: '{asked}' is not a request number"}, 400)
        since = int(asked)
        return _json([entry for entry in held.log if entry["seq"] > since])

    async def misbehave(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.rules.clear()
        elif request.method == "POST":
            try:
                self.rules.add(read_rules(await request.body()))
            except UsageError as error:
                return _json({"error": str(error)}, 400)
        return _json([rule.model_dump() for rule in self.rules.all()])

    async def reset(self, _: Request) -> Response:
        self.store.reset()
        self.rules.clear()
        return _json({"reset": True})


def read_rules(text: str | bytes) -> list[MisbehaviorRule]:
    """Parse the rules in a JSON object or list. Raises UsageError naming the invalid key."""
    try:
        found: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(
            f"misbehave: invalid JSON ({error}). Write an object or a list of objects."
        ) from None
    return [
        check(MisbehaviorRule, rule, "misbehave") for rule in (found if isinstance(found, list) else [found])
    ]


class Control:
    """Restricts the control routes to programs and pages of this machine: web pages in a local browser are
    denied, whatever host name they use for this address (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, origin = f"http://{headers.get('host', '')}", headers.get("origin")
        refused = None
        # A host name that is a numeric address cannot be the result of DNS rebinding.
        if not (self._is_ours(host) or _is_address(host)):
            refused = f"Host '{headers.get('host', '')}' is not a host name of this sandbox; see --allow-host"
        elif origin is not None and origin != host and not self._is_ours(origin):
            refused = f"Origin '{origin}' may not control this sandbox; see --allow-host"
        app = self._app if refused is None else _json({"error": refused}, 403)
        await app(scope, receive, send)

    def _is_ours(self, address: str) -> bool:
        host = _host_of(address)
        return host in self._hosts or (host != "" and is_local(host))


def _host_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(url: str) -> bool:
    try:
        ipaddress.ip_address(_host_of(url))
    except ValueError:
        return False
    return True


def create_app(
    rules: list[MisbehaviorRule] | None = None,
    secrets: Mapping[str, str] | None = None,
    project: str | None = None,
    hosts: Iterable[str] = (),
) -> Starlette:
    """Create the sandbox as an ASGI application; docs/how-to/sandbox.md has its routes. `project` is the
    only project that may sync to it, and `hosts` are its host names besides those of this machine."""
    sandbox = Sandbox(rules or [], secrets or {}, project)
    control = [
        Route("/health", sandbox.about),
        Route("/members/{destination}", sandbox.members),
        Route("/requests/{destination}", sandbox.requests, methods=["GET", "DELETE"]),
        Route("/misbehave", sandbox.misbehave, methods=["GET", "POST", "DELETE"]),
        Route("/reset", sandbox.reset, methods=["POST"]),
    ]
    guarded = [Middleware(Control, hosts=frozenset(host.lower() for host in hosts))]
    return Starlette(
        routes=[
            Route("/", sandbox.about, middleware=guarded),
            Mount("/_", routes=control, middleware=guarded),
            Route("/{destination}", sandbox.play, methods=_METHODS),
            Route("/{destination}/{path:path}", sandbox.play, methods=_METHODS),
        ]
    )
