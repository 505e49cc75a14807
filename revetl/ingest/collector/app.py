"""The collector's routes: Segment's Tracking API, and what RudderStack's SDKs use besides."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from revetl.config.collector import CollectorConfig
from revetl.ingest.collector.addresses import client_address, networks
from revetl.ingest.collector.bodies import (
    BadBody,
    BodyTooLarge,
    basic_user,
    decompressed,
    key_in_body,
    parse_json,
    read_pixel,
)
from revetl.ingest.collector.commits import CannotStore, GroupCommit
from revetl.ingest.collector.landing import Lander, LandingResult
from revetl.ingest.collector.messages import (
    MessagePreparer,
    NoMessages,
    ReceivedMessages,
    Reception,
    messages_of,
)
from revetl.ingest.collector.metrics import Counters
from revetl.ingest.collector.payloads import payload_of_messages, payload_of_rejected
from revetl.ingest.collector.plans import PlanChecker, PlanFinding
from revetl.ingest.collector.segments import SegmentLog, frame
from revetl.ingest.collector.settings import rudderstack_settings, segment_settings
from revetl.ingest.collector.sources import Source, Sources

TYPES = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
"""Short paths, which analytics.js uses, and their message types."""
_BATCHES = ("/v1/batch", "/v1/b", "/batch", "/b", "/beacon/v1/batch")
_PIXELS = ("/v1/pixel", "/pixel/v1", "/pixel")
_PROJECTS = ("/v1/projects", "/v1/projects/projects", "/projects", "/v1/v1/projects")
"""Settings paths, including those that old clients derive from their own base."""
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_ALLOWED_HEADERS = ("authorization", "content-type", "x-retry-count", "anonymousid", "sentat")
_HEADER_NAME = re.compile(r"[a-z0-9-]{1,64}")
_MOST_HEADERS = 20
_RETRY_SECONDS = 5
_BODY_SECONDS = 30.0
_DRAINED_BODIES = 8
"""How many times the limit is read of a body before the connection is closed."""
_LISTED = 100
"""The most rejected messages that an answer lists."""
_BUNDLE_NAME = re.compile(r"[\w-]+\.bundle\.\w+\.js")
_log = logging.getLogger("revetl")


@dataclass(frozen=True)
class SeenMessage:
    """A message as it was received, for whoever watches: accepted, with what the tracking plan finds, or
    rejected with the reason."""

    source: str
    message: Mapping[str, Any]
    reason: str | None = None
    finding: PlanFinding | None = None


Watch = Callable[[SeenMessage], None]


class _Answer(Exception):
    """Ends a request with a status and a reason."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Collector:
    """The state of a collector, and the handlers of its routes."""

    def __init__(
        self,
        config: CollectorConfig,
        sources: Sources,
        log: SegmentLog,
        preparer: MessagePreparer,
        *,
        lander: Lander | None = None,
        plan: PlanChecker | None = None,
        root: Path | None = None,
        watch: Watch | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config
        self.sources = sources
        self.log = log
        self.counters = Counters()
        self.commit = GroupCommit(log)
        self._preparer = preparer
        self._lander = lander
        self._plan = plan
        self._root = root or Path()
        self._watch = watch
        self._now = now
        self._trusted = networks(config.trusted_proxies)
        self._largest = config.max_body_kb * 1024
        self._most_backlog = config.max_backlog_mb * 1024 * 1024

    # Routes

    async def message(self, request: Request) -> Response:
        """A single message, of the type that the path names."""
        kind = request.path_params["kind"]
        return await self._receive(request, TYPES.get(kind, kind))

    async def batch(self, request: Request) -> Response:
        """A batch of messages."""
        return await self._receive(request, None)

    async def import_batch(self, request: Request) -> Response:
        """A batch of historical messages, whose timestamps are stored as they are."""
        return await self._receive(request, None, is_import=True)

    async def merge(self, request: Request) -> Response:
        """RudderStack's merge of two identifiers: an alias, where both are ids."""
        return await self._receive(request, "merge")

    async def pixel(self, request: Request) -> Response:
        """A message in the query of an image: always answered with the image."""
        source = None
        cookie = self._cookie_of(request)
        try:
            message = read_pixel(request.scope["query_string"].decode("latin-1"))
            kind = request.path_params["kind"]
            message["type"] = TYPES.get(kind, kind)
            source = self._source(request, message)
            reception = self._reception(request, source, cookie, is_direct=True)
            await self._store(source, [message], reception)
        except (_Answer, BadBody, CannotStore) as error:
            _log.debug("pixel: %s", error)
        self.counters.requests[200] += 1
        headers = {"Cache-Control": "no-store, max-age=0", **self._cookie_header(request, cookie)}
        return Response(_GIF, 200, headers, media_type="image/gif")

    async def settings(self, request: Request) -> Response:
        """The settings for analytics.js."""
        key = request.path_params["key"]
        source = self.sources.of_key(key)
        if source is None:
            self.counters.unknown_keys += 1
            return self._json(request, {"success": False, "message": "unknown write key"}, 404)
        plan = self._plan.plan if self._plan is not None and source.config.tracking_plan else None
        found = segment_settings(key, self._host(request), self._scheme(request), plan, source.name)
        return self._json(request, found, headers={"Cache-Control": "public, max-age=300"}, is_public=True)

    async def source_config(self, request: Request) -> Response:
        """The source configuration for RudderStack's SDKs."""
        key = basic_user(request.headers.get("authorization", "")) or request.query_params.get("writeKey", "")
        source = self.sources.of_key(key)
        if source is None:
            self.counters.unknown_keys += 1
            return self._json(request, {"message": "unknown write key"}, 404, is_public=True)
        found = rudderstack_settings(key, self._host(request), self._scheme(request), source.name)
        return self._json(request, found, is_public=True)

    async def client_metrics(self, request: Request) -> Response:
        """The metrics of analytics.js itself: accepted and dropped."""
        await self._body(request)
        return self._json(request, {"success": True}, is_public=True)

    async def analytics_js(self, request: Request) -> Response:
        """analytics.js from this host, if `analytics_js` names its file."""
        if self.sources.of_key(request.path_params["key"]) is None:
            return Response(b"", 404)
        return await self._script(None)

    async def analytics_js_bundle(self, request: Request) -> Response:
        """A part of analytics.js that it loads when it needs it: a file beside its bundle."""
        return await self._script(request.path_params["name"])

    async def _script(self, name: str | None) -> Response:
        written = self.config.analytics_js
        if written is None or (name is not None and not _BUNDLE_NAME.fullmatch(name)):
            return Response(b"", 404)
        path = self._root / written if name is None else (self._root / written).with_name(name)
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError:
            return Response(b"", 404)
        headers = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}
        return Response(content, 200, headers, media_type="application/javascript")

    async def health(self, _: Request) -> Response:
        """Whether the process works, and what waits."""
        return self._health(200)

    async def ready(self, _: Request) -> Response:
        """Whether events are accepted now."""
        return self._health(503 if self._is_full() else 200)

    async def metrics(self, _: Request) -> Response:
        """OpenMetrics."""
        lines = self.counters.lines(self.log.backlog, time.time(), self.commit.seconds, self.commit.count)
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return Response("\n".join(lines) + "\n", 200, media_type=kind)

    async def preflight(self, request: Request) -> Response:
        """A browser's question whether a page may send."""
        origin = request.headers.get("origin")
        if origin is None or not self.sources.any_allows(origin):
            return Response(b"", 403)
        headers = {
            **self._origin_headers(origin),
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": ", ".join(_allowed_headers(request)),
            "Access-Control-Max-Age": "900",
        }
        return Response(b"", 204, headers)

    # Receiving

    async def _receive(
        self, request: Request, message_type: str | None, *, is_import: bool = False
    ) -> Response:
        cookie = self._cookie_of(request)
        try:
            raw = await self._body(request)
            body = parse_json(decompressed(raw, self._largest))
            source = self._source(request, body)
            messages = messages_of(body, message_type)
            if message_type == "merge":
                messages = [_alias_of_merge(each) for each in messages]
            reception = self._reception(request, source, cookie, is_import=is_import)
            received, findings = await self._store(source, messages, reception)
        except BodyTooLarge:
            return self._refuse(
                request, _Answer(413, f"the body is above the limit of {self._largest:,} bytes")
            )
        except (BadBody, NoMessages) as error:
            return self._refuse(request, _Answer(400, str(error)))
        except CannotStore as error:
            _log.error("events cannot be stored: %s", error)
            return self._refuse(
                request, _Answer(503, "events cannot be stored at the moment", _RETRY_SECONDS)
            )
        except _Answer as answer:
            return self._refuse(request, answer)
        except ClientDisconnect:
            return Response(b"", 400)
        result = _answer_of(received, findings)
        return self._json(request, result, headers=self._cookie_header(request, cookie))

    async def _body(self, request: Request) -> bytes:
        """Read the body, up to the limit. Raises BodyTooLarge, and _Answer for a client that is too slow."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    if size <= self._largest:
                        parts.append(part)
                    # A client that is cut off while it sends never sees the answer, and tries again.
                    elif size > _DRAINED_BODIES * self._largest:
                        raise BodyTooLarge
        except TimeoutError:
            raise _Answer(408, "the body did not arrive in time") from None
        if size > self._largest:
            raise BodyTooLarge
        return b"".join(parts)

    def _source(self, request: Request, body: Any) -> Source:
        """Return the source of a request. Raises _Answer if the key is unknown, or the origin not allowed."""
        source = self.sources.of_key(basic_user(request.headers.get("authorization", "")))
        if source is None:
            source = self.sources.of_key(request.query_params.get("writeKey"))
        if source is None:
            source = self.sources.of_key(key_in_body(body))
        if source is None:
            self.counters.unknown_keys += 1
            raise _Answer(401, "the write key is missing or unknown")
        origin = request.headers.get("origin")
        if origin is not None and not source.allows_origin(origin):
            self.counters.refused_origins += 1
            raise _Answer(403, "the source does not allow this origin")
        return source

    def _reception(
        self,
        request: Request,
        source: Source,
        cookie: str | None,
        *,
        is_import: bool = False,
        is_direct: bool = False,
    ) -> Reception:
        peer = None if request.client is None else request.client.host
        return Reception(
            source=source.name,
            received_at=self._now(),
            address=client_address(peer, request.headers.getlist("x-forwarded-for"), self._trusted),
            user_agent=request.headers.get("user-agent"),
            anonymous_id=_anonymous_id(request.headers.get("anonymousid")),
            cookie_id=cookie,
            ip_policy=source.config.ip or self.config.ip,
            is_import=is_import,
            is_direct=is_direct,
        )

    async def _store(
        self, source: Source, messages: Sequence[Any], reception: Reception
    ) -> tuple[ReceivedMessages, list[PlanFinding | None]]:
        """Store messages; returns when they are on disk. Raises CannotStore, and _Answer above the rate."""
        if wait := source.wait_for(len(messages)):
            raise _Answer(429, "the source is above its rate", wait)
        if self._is_full():
            raise CannotStore("the backlog is at its limit")
        received = self._preparer.prepare(list(messages), reception)
        findings = self._findings(source, received)
        frames = []
        if received.lines:
            frames.append(frame(payload_of_messages(source.name, received.lines)))
        if received.rejected:
            frames.append(frame(payload_of_rejected(source.name, received.rejected)))
        if frames:
            await self.commit.write(b"".join(frames))
        self._count(source.name, received, findings)
        if self._lander is not None:
            self._lander.notice(len(messages))
        if self._watch is not None:
            self._show(source.name, messages, received, findings)
        return received, findings

    def _findings(self, source: Source, received: ReceivedMessages) -> list[PlanFinding | None]:
        if self._plan is None or not source.config.tracking_plan:
            return [None] * len(received.accepted)
        return [self._plan.check(message, source.name) for message in received.accepted]

    def _count(self, source: str, received: ReceivedMessages, findings: Sequence[PlanFinding | None]) -> None:
        self.counters.accepted[source] += len(received.lines)
        self.counters.rejected[source] += len(received.rejected)
        for kind, count in received.noticed.items():
            self.counters.noticed[source, kind] += count
        for finding in findings:
            if finding is not None:
                self.counters.violations[source, finding.action] += 1

    def _show(
        self,
        source: str,
        messages: Sequence[Any],
        received: ReceivedMessages,
        findings: Sequence[PlanFinding | None],
    ) -> None:
        assert self._watch is not None
        for message, finding in zip(received.accepted, findings, strict=True):
            self._watch(SeenMessage(source, message, None, finding))
        for each in received.rejected:
            message = messages[each.index]
            self._watch(SeenMessage(source, message if isinstance(message, dict) else {}, each.reason))

    def _is_full(self) -> bool:
        return self.log.total_bytes >= self._most_backlog

    def on_landed(self, result: LandingResult) -> None:
        """Count a landing."""
        self.counters.landed += result.landed
        self.counters.damaged_bytes += result.damaged_bytes

    # Answers

    def _health(self, status: int) -> Response:
        backlog = self.log.backlog
        lander = self._lander
        found = {
            "status": "full" if self._is_full() else "ok",
            "accepting": not self._is_full(),
            "backlog": {
                "segments": backlog.segments,
                "bytes": backlog.bytes,
                "limit_bytes": self._most_backlog,
                "oldest_seconds": None
                if backlog.oldest is None
                else round(max(0.0, time.time() - backlog.oldest), 1),
            },
            "landing": {
                "error": None if lander is None else lander.error,
                "failures": 0 if lander is None else lander.failures,
                "last": None
                if lander is None or lander.last_landed is None
                else lander.last_landed.isoformat(),
            },
        }
        return Response(orjson.dumps(found), status, media_type="application/json")

    def _refuse(self, request: Request, answer: _Answer) -> Response:
        headers = {}
        if answer.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(answer.retry_after)))
        if answer.status in (408, 413):
            # The rest of the body is still on its way.
            headers["Connection"] = "close"
        found = {"success": False, "message": str(answer)}
        return self._json(request, found, answer.status, headers)

    def _json(
        self,
        request: Request,
        value: object,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        is_public: bool = False,
    ) -> Response:
        self.counters.requests[status] += 1
        made = dict(headers or {})
        origin = request.headers.get("origin")
        if origin is not None and (is_public or self.sources.any_allows(origin)):
            made |= self._origin_headers(origin)
        return Response(orjson.dumps(value), status, made, media_type="application/json")

    def _origin_headers(self, origin: str) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }

    def _cookie_of(self, request: Request) -> str | None:
        """Return the id in the cookie, or a new one; None without `cookie`."""
        cookie = self.config.cookie
        if cookie is None:
            return None
        found = request.cookies.get(cookie.name, "")
        try:
            return str(uuid.UUID(found))
        except ValueError:
            return str(uuid.uuid4())

    def _cookie_header(self, request: Request, value: str | None) -> dict[str, str]:
        cookie = self.config.cookie
        if cookie is None or value is None:
            return {}
        parts = [f"{cookie.name}={value}", "Path=/", f"Max-Age={cookie.days * 86_400}", "HttpOnly"]
        parts.append("SameSite=Lax")
        if cookie.domain is not None:
            parts.append(f"Domain={cookie.domain}")
        if self._scheme(request) == "https":
            parts.append("Secure")
        return {"Set-Cookie": "; ".join(parts)}

    def _host(self, request: Request) -> str:
        return request.headers.get("host") or "localhost"

    def _scheme(self, request: Request) -> str:
        """Return the scheme that the client used, which only a trusted proxy knows."""
        peer = None if request.client is None else request.client.host
        forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        is_trusted = client_address(peer, ["192.0.2.1"], self._trusted) == "192.0.2.1"
        return forwarded if is_trusted and forwarded in ("http", "https") else request.url.scheme


def _allowed_headers(request: Request) -> list[str]:
    """Return the headers that a preflight allows: those that SDKs are known to send, and others that it asks
    for, because every version of an SDK may add one."""
    asked = request.headers.get("access-control-request-headers", "").lower().split(",")
    names = [name.strip() for name in asked[:_MOST_HEADERS]]
    return list(dict.fromkeys((*_ALLOWED_HEADERS, *filter(_HEADER_NAME.fullmatch, names))))


def _anonymous_id(header: str | None) -> str | None:
    """Return the anonymous id in RudderStack's header, which is Base64."""
    if not header:
        return None
    try:
        return base64.b64decode(header, validate=True).decode().strip() or None
    except (binascii.Error, ValueError):
        return None


def _alias_of_merge(message: Any) -> Any:
    """Return a merge of a user id and an anonymous id, or of two user ids, as an alias. Others stay as they
    are, and are rejected by their type."""
    pairs = message.get("mergeProperties") if isinstance(message, dict) else None
    if not isinstance(pairs, list) or len(pairs) != 2 or not all(isinstance(each, dict) for each in pairs):
        return message
    names = {
        "user_id": "userId",
        "userId": "userId",
        "anonymous_id": "anonymousId",
        "anonymousId": "anonymousId",
    }
    kinds = [names.get(str(each.get("type"))) for each in pairs]
    values = [each.get("value") for each in pairs]
    if None in kinds or "userId" not in kinds:
        return message
    user = kinds.index("userId")
    made = {name: value for name, value in message.items() if name != "mergeProperties"}
    return {**made, "type": "alias", "userId": values[user], "previousId": values[1 - user]}


def _answer_of(received: ReceivedMessages, findings: Sequence[PlanFinding | None]) -> dict[str, Any]:
    """Return the body of status 200: what was rejected and why, and what the tracking plan blocks."""
    answer: dict[str, Any] = {"success": True}
    if received.rejected:
        answer["rejected"] = [
            {"index": each.index, "messageId": each.message_id, "reason": each.reason}
            for each in received.rejected[:_LISTED]
        ]
        answer["rejected_count"] = len(received.rejected)
    blocked = [
        {"messageId": message["messageId"], "reasons": list(finding.reasons)}
        for message, finding in zip(received.accepted, findings, strict=True)
        if finding is not None and finding.action == "block"
    ]
    if blocked:
        answer["blocked"] = blocked[:_LISTED]
        answer["blocked_count"] = len(blocked)
    return answer


class _MessageType(StringConvertor):
    regex = "|".join([*TYPES.values(), *TYPES])


register_url_convertor("message_type", _MessageType())


def create_app(collector: Collector) -> Starlette:
    """Create the collector as an ASGI application. docs/how-to/collecting.md lists the routes."""
    post, get = ["POST"], ["GET"]
    routes = [
        *(Route(path, collector.batch, methods=post) for path in _BATCHES),
        *(
            Route(f"{prefix}/{{kind:message_type}}", collector.message, methods=post)
            for prefix in ("/v1", "")
        ),
        *(Route(f"{prefix}/{{kind:message_type}}", collector.pixel, methods=get) for prefix in _PIXELS),
        *(Route(f"{prefix}/import", collector.import_batch, methods=post) for prefix in ("/v1", "")),
        *(Route(f"{prefix}/m", collector.client_metrics, methods=post) for prefix in ("/v1", "")),
        *(Route(f"{prefix}/{{key}}/settings", collector.settings, methods=get) for prefix in _PROJECTS),
        Route("/v1/merge", collector.merge, methods=post),
        Route("/sourceConfig", collector.source_config, methods=get),
        Route("/sourceConfig/", collector.source_config, methods=get),
        Route("/analytics.js/v1/{key}/analytics.min.js", collector.analytics_js, methods=get),
        Route("/analytics.js/v1/{key}/analytics.js", collector.analytics_js, methods=get),
        Route("/analytics-next/bundles/{name}", collector.analytics_js_bundle, methods=get),
        Route("/health", collector.health, methods=get),
        Route("/ready", collector.ready, methods=get),
        Route("/metrics", collector.metrics, methods=get),
        Route("/{path:path}", collector.preflight, methods=["OPTIONS"]),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        collector.commit.start()
        try:
            yield
        finally:
            await collector.commit.stop()

    return Starlette(routes=routes, lifespan=lifespan)
