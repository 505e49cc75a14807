"""The routes over HTTP, and answers by what clients do with them."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.project import ProjectFolder
from tests.ingest.collector.running import KEY, RunningCollector, at, make_project, running, track

ORIGIN = "https://www.example.com"
PATHS: dict[str, tuple[dict[str, Any], str]] = {
    "track": ({"event": "Hi"}, "tracks"),
    "identify": ({"traits": {"plan": "pro"}}, "identifies"),
    "page": ({"name": "Home"}, "pages"),
    "screen": ({"name": "Main"}, "screens"),
    "group": ({"groupId": "g1"}, "groups"),
    "alias": ({"previousId": "u0"}, "aliases"),
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """A collector that accepts."""
    with running(make_project(tmp_path_factory.mktemp("shop"))) as found:
        yield found


def test_every_call_has_a_path_and_a_short_one(tmp_path: Path) -> None:
    with running(make_project(tmp_path)) as collector:
        statuses = [
            collector.post(path, {**fields, "userId": path}).status_code
            for kind, (fields, _) in PATHS.items()
            for path in (f"/v1/{kind}", f"/v1/{kind[0]}")
        ]
        collector.land()
        landed = [collector.messages(table, "user_id", "source_id") for _, table in PATHS.values()]
    assert statuses == [200] * 12
    assert landed == [[(f"/v1/{kind[0]}", "web"), (f"/v1/{kind}", "web")] for kind in PATHS]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"])
def test_batches_are_stored_with_what_is_rejected_in_the_answer(
    collector: RunningCollector, path: str
) -> None:
    answer = collector.post(path, {"batch": [track(messageId="good"), {"type": "track", "messageId": "bad"}]})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "success": True,
            "rejected": [
                {"index": 1, "messageId": "bad", "reason": "neither userId nor anonymousId is there"}
            ],
            "rejected_count": 1,
        },
    )


def test_rejected_messages_are_kept_with_their_reason_once(tmp_path: Path) -> None:
    with running(make_project(tmp_path)) as collector:
        collector.post("/v1/batch", {"batch": [{"type": "track", "messageId": "bad"}, 5], "writeKey": KEY})
        rejected = collector.rows("select file, line_number, reason, text from raw.rejected_messages")
    assert [row[1:] for row in rejected] == [
        (1, "neither userId nor anonymousId is there", '{"type":"track","messageId":"bad"}'),
        (2, "the message is not a JSON object", "5"),
    ]
    assert rejected[0][0].startswith("collector/web/")


STATUSES: dict[str, tuple[int, dict[str, Any]]] = {
    "a body that is not JSON": (400, {"content": b"{"}),
    "JSON without messages": (400, {"content": b"5"}),
    "broken gzip": (400, {"content": gzip.compress(b"{}")[:-4]}),
    "a body above the limit": (413, {"content": b" " * 600_000}),
    "a body above the limit by gzip": (413, {"content": gzip.compress(b" " * 600_000)}),
    "an unknown key": (401, {"content": b'{"batch":[]}', "auth": ("other", "")}),
    "an unknown key in the body": (401, {"content": b'{"batch":[],"writeKey":"other"}', "auth": None}),
    "no key": (401, {"content": b'{"batch":[]}', "auth": None}),
    "an empty batch": (200, {"content": b'{"batch":[]}'}),
}


@pytest.mark.parametrize(("status", "request_"), STATUSES.values(), ids=STATUSES.keys())
def test_the_status_of_an_answer(collector: RunningCollector, status: int, request_: dict[str, Any]) -> None:
    given = {"auth": (KEY, ""), **request_}
    answer = httpx.post(f"{collector.url}/v1/batch", **given)
    assert (answer.status_code, answer.json()["success"]) == (status, status == 200)


@pytest.mark.parametrize(
    ("auth", "body", "query"),
    [
        ({"Authorization": f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"}, {}, ""),
        ({"Authorization": f"Basic {base64.b64encode(KEY.encode()).decode()}"}, {}, ""),
        ({"Authorization": f"Bearer {KEY}"}, {}, ""),
        ({"Authorization": f"Basic {base64.b64encode(b'site:password').decode()}"}, {"writeKey": KEY}, ""),
        ({}, {"writeKey": KEY}, ""),
        ({}, {}, f"?writeKey={KEY}"),
    ],
    ids=["basic", "basic without colon", "bearer", "another's basic", "body", "query"],
)
def test_the_write_key_is_found_wherever_a_client_puts_it(
    collector: RunningCollector, auth: dict[str, str], body: dict[str, str], query: str
) -> None:
    answer = httpx.post(f"{collector.url}/v1/t{query}", json={**track(), **body}, headers=auth)
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
@pytest.mark.parametrize("label", ["gzip", "identity"])
@pytest.mark.parametrize("is_gzip", [True, False])
def test_the_bytes_decide_about_gzip(
    collector: RunningCollector, kind: str, label: str, is_gzip: bool
) -> None:
    body = json.dumps({"batch": [track()]}).encode()
    headers = {"Content-Type": kind, "Content-Encoding": label}
    answer = collector.post("/v1/batch", gzip.compress(body) if is_gzip else body, **headers)
    assert answer.json() == {"success": True}


def test_a_preflight_allows_what_browsers_send(collector: RunningCollector) -> None:
    asked = "authorization,content-type,x-retry-count,rsa-since-last-attempt"
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = collector.client.options("/v1/t", headers=headers)
    allowed = {each.strip() for each in answer.headers["access-control-allow-headers"].split(",")}
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert set(asked.split(",")) <= allowed
    sent = collector.post("/v1/t", track(), Origin=ORIGIN)
    assert sent.headers["access-control-allow-origin"] == ORIGIN
    assert sent.headers["access-control-expose-headers"] == "Retry-After"


def test_a_source_accepts_pages_of_its_origins_alone(tmp_path: Path) -> None:
    sources = {
        "web": {"write_key": KEY, "origins": [ORIGIN]},
        "app": {"write_key": "app-key", "origins": ["https://app.example.com"]},
    }
    other = "https://evil.example"
    with running(make_project(tmp_path, sources=sources)) as collector:
        preflights = [
            collector.client.options("/v1/t", headers={"Origin": each}).status_code
            for each in (ORIGIN, other)
        ]
        sent = [
            collector.post("/v1/t", track(), Origin=each).status_code
            for each in (ORIGIN, ORIGIN.upper(), "https://app.example.com", other)
        ]
        without = collector.post("/v1/t", track()).status_code
        events = collector.messages("tracks", "count(*)")
    assert (preflights, sent, without, events) == ([204, 403], [200, 200, 403, 403], 200, [(3,)])


def test_a_pixel_is_always_a_picture(tmp_path: Path) -> None:
    message = {"writeKey": KEY, "userId": "u1", "event": "Email Opened", "properties": {"subject": "Hi"}}
    data = base64.b64encode(json.dumps(message).encode()).decode()
    with running(make_project(tmp_path)) as collector:
        answers = [
            collector.client.get(path, headers={"User-Agent": "Mail/1"})
            for path in (
                f"/v1/pixel/track?data={data}",
                f"/v1/pixel/page?writeKey={KEY}&userId=u1&name=Home&properties.path=/",
                "/v1/pixel/track?data=junk",
                "/v1/pixel/track?writeKey=other",
                "/v1/pixel/track",
            )
        ]
        tracks = collector.messages("tracks", "event_text", "context ->> 'userAgent'", "context ->> 'ip'")
        pages = collector.messages("pages", "name", "properties ->> 'path'")
    assert {(each.status_code, each.headers["content-type"], each.content[:6]) for each in answers} == {
        (200, "image/gif", b"GIF89a")
    }
    assert (tracks, pages) == ([("Email Opened", "Mail/1", "127.0.0.1")], [("Home", "/")])


@pytest.mark.parametrize(
    "path", ["/v1/projects/{}/settings", "/v1/projects/projects/{}/settings", "/projects/{}/settings"]
)
def test_settings_name_this_host(collector: RunningCollector, path: str) -> None:
    answer = collector.client.get(path.format(KEY), headers={"Origin": ORIGIN})
    found = answer.json()
    assert found["integrations"]["Segment.io"]["apiKey"] == KEY
    assert found["integrations"]["Segment.io"]["apiHost"] == f"{httpx.URL(collector.url).netloc.decode()}/v1"
    assert found["integrations"]["Segment.io"]["protocol"] == "http"
    assert found["metrics"] == {"sampleRate": 0}
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert collector.client.get(path.format("other")).status_code == 404


def test_metrics_of_the_library_are_accepted_and_dropped(collector: RunningCollector) -> None:
    body = b'{"series":[{"type":"Counter","metric":"analytics_js.invoke","value":1,"tags":{}}]}'
    assert collector.post("/v1/m", body, None).status_code == 200


def test_a_merge_of_ids_is_an_alias_and_of_others_is_rejected(tmp_path: Path) -> None:
    def merge(first: str, second: str) -> dict[str, Any]:
        pairs = [{"type": first, "value": "1"}, {"type": second, "value": "2"}]
        return {"mergeProperties": pairs, "messageId": f"{first} {second}"}

    with running(make_project(tmp_path)) as collector:
        answers = [
            collector.post("/v1/merge", merge(*pair)).json()
            for pair in (("user_id", "anonymous_id"), ("anonymous_id", "user_id"), ("email", "phone"))
        ]
        aliases = collector.messages("aliases", "user_id", "previous_id")
    assert ([each.get("rejected_count") for each in answers], aliases) == (
        [None, None, 1],
        [("1", "2"), ("2", "1")],
    )


def test_an_id_cookie_is_set_and_comes_back(tmp_path: Path) -> None:
    project = make_project(
        tmp_path, cookie={"days": 30, "domain": "example.com"}, trusted_proxies=["127.0.0.1"]
    )
    with running(project) as collector:
        first = collector.post("/v1/t", track(userId=...), **{"X-Forwarded-Proto": "https"})
        cookie = first.headers["set-cookie"]
        value = cookie.partition(";")[0].partition("=")[2]
        again = collector.post("/v1/t", track(), Cookie=f"revetl_id={value}")
        forged = collector.post("/v1/t", track(), Cookie="revetl_id=../../etc")
        stored = collector.messages("tracks", "anonymous_id", "context ->> 'cookieId'")
    assert cookie == (
        f"revetl_id={value}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Domain=example.com; Secure"
    )
    assert stored[0] == (value, value)
    assert (None, value) in stored
    assert value in again.headers["set-cookie"]
    assert "etc" not in forged.headers["set-cookie"]


def test_an_address_from_the_proxy_is_stored_truncated(tmp_path: Path) -> None:
    project = make_project(tmp_path, ip="truncate", trusted_proxies=["127.0.0.0/8"])
    with running(project) as collector:
        collector.post("/v1/t", track(context={"direct": True}), **{"X-Forwarded-For": "6.6.6.6, 192.0.2.9"})
        assert collector.messages("tracks", "context ->> 'ip'") == [("192.0.2.0",)]


def test_above_its_rate_a_source_is_answered_429_with_a_time(tmp_path: Path) -> None:
    sources = {"web": {"write_key": KEY, "rate": 10}, "app": {"write_key": "app-key"}}
    with running(make_project(tmp_path, sources=sources)) as collector:
        first = collector.post("/v1/batch", {"batch": [track()] * 30})
        second = collector.post("/v1/t", track())
        other = collector.post("/v1/t", track(), "app-key")
    assert (first.status_code, second.status_code, other.status_code) == (200, 429, 200)
    assert 1 <= int(second.headers["retry-after"]) <= 4


def test_a_rotated_key_is_accepted_beside_the_new_one(tmp_path: Path) -> None:
    with running(make_project(tmp_path, sources={"web": {"write_key": ["old", "new"]}})) as collector:
        assert [collector.post("/v1/t", track(), key).status_code for key in ("old", "new", "older")] == [
            200,
            200,
            401,
        ]
        assert collector.metric("revetl_unknown_keys_total") == 1


def test_unknown_keys_store_nothing_and_no_key_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    with running(make_project(tmp_path)) as collector:
        collector.post("/v1/t", track(), "unknown-write-key")
        collector.client.get("/v1/projects/unknown-write-key/settings")
        collector.post("/v1/t", track())
        collector.client.get(f"/v1/pixel/track?writeKey={KEY}")
        stored = collector.messages("tracks", "count(*)")
        metrics = collector.client.get("/metrics").text
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith(("httpx", "httpcore"))]
    logged = "\n".join([*ours, *capfd.readouterr(), metrics])
    assert stored == [(1,)]
    assert "write-key" not in logged


def test_metrics_count_what_was_received(tmp_path: Path) -> None:
    with running(make_project(tmp_path), now=lambda: at("2026-12-01T12:00:00")) as collector:
        sent = {"sentAt": "2026-12-01T12:00:00Z"}
        collector.post("/v1/batch", {"batch": [track(), track(timestamp="2026-12-01T13:00:00Z", **sent), 5]})
        collector.land()
        found = [
            collector.metric(name)
            for name in (
                'revetl_accepted_events_total{source="web"}',
                'revetl_rejected_events_total{source="web"}',
                'revetl_noticed_events_total{source="web",kind="ahead_whole_hours"}',
                "revetl_landed_events_total",
                "revetl_backlog_bytes",
                "revetl_sync_seconds_count",
            )
        ]
        text = collector.client.get("/metrics").text
    assert found == [2, 1, 1, 2, 0, 1]
    assert text.endswith("# EOF\n")


def test_a_message_comes_once_however_often_it_is_sent(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with running(project) as collector:
        for _ in range(3):
            collector.post("/v1/t", track(messageId="m1"))
        collector.land()
        collector.post("/v1/t", track(messageId="m1"))
        assert collector.messages("tracks", "id") == [("m1",)]


def test_the_answer_comes_after_the_event_is_on_disk(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with running(project) as collector:
        for number in range(5):
            collector.post("/v1/t", track(messageId=f"message-{number}"))
            stored = b"".join(
                path.read_bytes() for path in (tmp_path / ".revetl/collector").glob("*.segment")
            )
            assert f"message-{number}".encode() in stored


def test_a_collector_that_is_stopped_leaves_its_events_to_the_next(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with running(project) as collector:
        collector.post("/v1/t", track(messageId="m1"))
    with running(project) as collector:
        assert collector.client.get("/health").json()["backlog"]["segments"] == 1
        collector.post("/v1/t", track(messageId="m2"))
        assert sorted(collector.messages("tracks", "id")) == [("m1",), ("m2",)]
        assert collector.client.get("/health").json()["backlog"]["segments"] == 0


def raw_request(url: str, *parts: bytes, pause: float = 0) -> bytes:
    """What the server answers to bytes."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
            if b"\r\n\r\n" in answer:
                break
        return answer


def test_headers_above_the_limit_are_refused(collector: RunningCollector) -> None:
    answer = raw_request(
        collector.url, b"POST /v1/t HTTP/1.1\r\nHost: x\r\n", b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400")
    assert collector.post("/v1/t", track()).status_code == 200


def test_a_client_that_is_slow_is_cut_off_and_delays_no_other(
    collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revetl.ingest.collector.server._HEADER_SECONDS", 0.5)
    monkeypatch.setattr("revetl.ingest.collector.app._BODY_SECONDS", 0.5)
    slow_header = threading.Thread(target=raw_request, args=(collector.url, b"POST /v1/t HTTP/1.1\r\n"))
    slow_header.start()
    key = base64.b64encode(f"{KEY}:".encode())
    head = (
        b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nAuthorization: Basic " + key + b"\r\n\r\n"
    )
    started = time.monotonic()
    assert collector.post("/v1/t", track()).status_code == 200
    assert raw_request(collector.url, head, b"{").startswith(b"HTTP/1.1 408")
    slow_header.join(timeout=10)
    assert not slow_header.is_alive()
    assert time.monotonic() - started < 10


def test_connections_that_are_dropped_leave_nothing_behind(collector: RunningCollector) -> None:
    address = httpx.URL(collector.url)
    for number in range(500):
        with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
            if number % 2:
                connection.sendall(b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    assert collector.post("/v1/t", track()).status_code == 200


def test_analytics_js_is_served_from_the_own_host(tmp_path: Path) -> None:
    project = make_project(tmp_path, analytics_js="analytics.min.js")
    (tmp_path / "analytics.min.js").write_text("window.analytics = 1")
    with running(project) as collector:
        found = collector.client.get(f"/analytics.js/v1/{KEY}/analytics.min.js")
        unknown = collector.client.get("/analytics.js/v1/other/analytics.min.js")
    assert (found.text, found.headers["content-type"].partition(";")[0]) == (
        "window.analytics = 1",
        "application/javascript",
    )
    assert unknown.status_code == 404


def test_pii_rules_hide_before_the_append(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "transformations.yaml").write_text("pii: [{match: email, action: mask}]")
    with running(project) as collector:
        collector.post("/v1/t", track(properties={"email": "jane@example.com"}))
        collector.post("/v1/t", track(event=..., properties={"email": "jane@example.com"}))
        stored = b"".join(path.read_bytes() for path in (tmp_path / ".revetl/collector").glob("*.segment"))
        assert b"jane" not in stored
        assert collector.messages("tracks", "properties ->> 'email'") == [("j***@example.com",)]
        assert collector.rows("select text from raw.rejected_messages") == [(None,)]


def test_status_shows_the_backlog(tmp_path: Path, cli: Any) -> None:
    project: ProjectFolder = make_project(tmp_path)
    project.write_manifest()
    with running(project) as collector:
        collector.post("/v1/t", track())
        waiting = cli(project, "status").stderr
        collector.land()
        landed = cli(project, "status").stderr
    assert "The collector has" in waiting
    assert "in 1 segments to land" in waiting
    assert "The collector has" not in landed
