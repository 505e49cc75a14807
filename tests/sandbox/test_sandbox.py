"""The sandbox over real HTTP: what it refuses, what it holds, how it misbehaves."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.sandbox import running_sandbox
from tests.helpers.project import ProjectFolder

BASIC = {"Authorization": "Basic d2s6"}
BEARER = {"Authorization": "Bearer k"}


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with running_sandbox(secrets={"signed": "s"}) as url, httpx.Client(base_url=url) as client:
        yield client


def batch(operation: str, *ids: str) -> dict[str, Any]:
    records = [{"id": i, "fields": {"n": 1}} for i in ids]
    return {
        "sync": "a.crm",
        "audience": "a",
        "run_id": "r",
        "batch_id": "b",
        "operation": operation,
        "records": records,
    }


def identify(user: str, message_id: str, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user, "messageId": message_id, "traits": traits}


REFUSED = {
    "webhook: not JSON": ("/crm", {}, "{", 400),
    "webhook: no records": ("/crm", {}, json.dumps({"operation": "add"}), 400),
    "webhook: an unknown operation": ("/crm", {}, json.dumps(batch("upsert", "u1")), 400),
    "webhook: unsigned": ("/signed", {}, json.dumps(batch("add", "u1")), 401),
    "webhook: too many": ("/crm", {}, json.dumps(batch("add", *map(str, range(10_001)))), 413),
    "segment: no write key": ("/seg/v1/batch", {}, json.dumps({"batch": []}), 401),
    "segment: not JSON": ("/seg/v1/batch", BASIC, "{", 400),
    "segment: over 500 KB": (
        "/seg/v1/batch",
        BASIC,
        json.dumps({"batch": [identify("u", str(i), note="x" * 30_000) for i in range(17)]}),
        400,
    ),
    "segment: a message over 32 KB": (
        "/seg/v1/batch",
        BASIC,
        json.dumps({"batch": [identify("u", "m", note="x" * 33_000)]}),
        400,
    ),
    "braze: no key": ("/brz/users/track", {}, json.dumps({"attributes": []}), 401),
    "braze: nothing to track": ("/brz/users/track", BEARER, "{}", 400),
    "braze: 76 objects": (
        "/brz/users/track",
        BEARER,
        json.dumps({"attributes": [{"external_id": "u"}] * 76}),
        400,
    ),
}


@pytest.mark.parametrize(("path", "headers", "body", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(http: httpx.Client, path: str, headers: dict[str, str], body: str, status: int) -> None:
    assert http.post(path, content=body, headers=headers).status_code == status
    name = path.split("/")[1]
    assert http.get(f"/_/members/{name}").json()["profiles"] == {}
    (entry,) = http.get(f"/_/requests/{name}").json()
    assert (entry["status"], entry["applied"]) == (status, False)


def test_a_webhook_holds_what_it_was_sent(http: httpx.Client) -> None:
    body = json.dumps(batch("add", "u1", "u2")).encode()
    signature = "sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest()
    answer = http.post("/signed", content=body, headers={"X-Revetl-Signature": signature})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "rejected": []})
    http.post("/crm", json=batch("add", "u1", "u2"))
    http.post("/crm", json=batch("remove", "u1"))
    held = http.get("/_/members/crm").json()
    assert held["audiences"] == {"a": {"count": 1, "members": {"u2": {"n": 1}}}}
    assert (held["api"], held["simulated"]) == ("webhook", True)


def test_segment_drops_a_message_id_it_has_seen(http: httpx.Client) -> None:
    for message in (
        identify("u1", "m1", vip=True),
        identify("u1", "m1", vip=False),
        identify("u2", "m2", vip=False),
    ):
        assert http.post("/seg/v1/batch", json={"batch": [message]}, headers=BASIC).json() == {
            "success": True
        }
    assert http.get("/_/members/seg").json()["audiences"] == {
        "vip": {"count": 1, "members": {"u1": {"vip": True}}}
    }


def test_braze_merges_attributes_and_null_unsets_one(http: httpx.Client) -> None:
    users = [{"external_id": "u1", "vip": True, "plan": "pro"}, {"plan": "nobody's"}]
    answer = http.post("/brz/users/track", json={"attributes": users}, headers=BEARER)
    assert answer.status_code == 201
    assert [error["index"] for error in answer.json()["errors"]] == [1]
    users = [{"external_id": "u1", "plan": None}]
    http.post("/brz/users/track", json={"attributes": users}, headers=BEARER)
    assert http.get("/_/members/brz").json()["profiles"] == {"u1": {"vip": True}}


@pytest.mark.parametrize(
    ("rule", "statuses"),
    [
        ({"kind": "status", "status": 429, "retry_after": 2, "times": 2}, [429, 429, 200]),
        ({"kind": "status", "status": 500, "destination": "other"}, [200, 200, 200]),
        ({"kind": "slow", "seconds": 0.01}, [200, 200, 200]),
        ({"kind": "reject", "pattern": "u1", "status": 422, "times": 1}, [422, 200, 200]),
    ],
)
def test_misbehaviour(http: httpx.Client, rule: dict[str, Any], statuses: list[int]) -> None:
    assert http.post("/_/misbehave", json=rule).status_code == 200
    answers = [http.post("/crm", json=batch("add", "u1")) for _ in statuses]
    assert [answer.status_code for answer in answers] == statuses
    assert answers[0].headers.get("retry-after") == ("2" if "retry_after" in rule else None)


@pytest.mark.parametrize(("when", "held"), [("before", 0), ("after", 1)])
def test_a_dropped_connection(http: httpx.Client, when: str, held: int) -> None:
    http.post("/_/misbehave", json={"kind": "drop", "when": when, "times": 1})
    with pytest.raises(httpx.TransportError):
        http.post("/crm", json=batch("add", "u1"))
    assert len(http.get("/_/members/crm").json()["profiles"]) == held


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"kind": "drops"}, "misbehave: kind: 'drops' is not known. Did you mean 'drop'?"),
        ({"kind": "drop", "tmes": 1}, "misbehave: tmes: unknown key 'tmes'. Did you mean 'times'?"),
        ({}, "misbehave: kind is missing. Add it."),
        ({"kind": "reject", "pattern": "("}, "misbehave: pattern: '(' is not a valid RE2 regular expression"),
    ],
)
def test_a_wrong_rule(http: httpx.Client, rule: dict[str, Any], sentence: str) -> None:
    answer = http.post("/_/misbehave", json=rule)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_reset_forgets_everything(http: httpx.Client) -> None:
    http.post("/crm", json=batch("add", "u1"))
    http.post("/_/misbehave", json={"kind": "slow"})
    http.post("/_/reset")
    assert http.get("/_/members/crm").json()["profiles"] == {}
    assert http.get("/_/requests/crm").json() == []
    assert http.get("/_/misbehave").json() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8765"}, 200),
        ({"Host": "sandbox:8765"}, 200),
        ({"Host": "192.168.7.5:8765"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://1.2.3.4"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/_/health"), ("GET", "/_/members/crm"), ("DELETE", "/_/requests/crm"), ("POST", "/_/reset")],
)
def test_only_this_machine_may_use_the_control_routes(
    http: httpx.Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert http.request(method, path, headers=headers).status_code == status


@pytest.mark.parametrize("since", ["abc", "-1", "1.5", "", "9" * 5_000, "٣"])
def test_requests_since_what_is_no_number_are_a_bad_request(http: httpx.Client, since: str) -> None:
    answer = http.get("/_/requests/crm", params={"since": since})
    assert answer.status_code == 400
    assert "is not a request number" in answer.json()["error"]


def test_a_pattern_that_would_backtrack_for_ever_takes_no_time(http: httpx.Client) -> None:
    rule = {"destination": "crm", "kind": "reject", "pattern": "^(a+)+$"}
    assert http.post("/_/misbehave", json=rule).status_code == 200
    started = time.monotonic()
    answer = http.post("/crm", json=batch("add", "a" * 20_000 + "b"))
    assert (answer.status_code, time.monotonic() - started < 2) == (200, True)


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{1000}{1000}"])
def test_a_pattern_that_is_none_of_re2_is_refused(http: httpx.Client, pattern: str) -> None:
    answer = http.post("/_/misbehave", json={"kind": "reject", "pattern": pattern})
    assert answer.status_code == 400
    assert "is not a valid RE2 regular expression" in answer.json()["error"]


def test_a_sandbox_says_whose_it_is_and_takes_nobody_elses() -> None:
    with running_sandbox(project="shop-1") as url:
        assert httpx.get(f"{url}/_/health").json()["project"] == "shop-1"
        answers = [
            httpx.post(f"{url}/crm", json=batch("add", "u1"), headers=headers)
            for headers in ({"Revetl-Project": "shop-1"}, {"Revetl-Project": "other-2"}, {})
        ]
        log = httpx.get(f"{url}/_/requests/crm").json()
    assert [answer.status_code for answer in answers] == [200, 421, 200]
    assert (answers[1].headers["Revetl-Sandbox"], len(log)) == ("shop-1", 2)


def test_a_sync_to_another_projects_sandbox_is_refused_in_a_sentence(tmp_path: Path) -> None:
    owner, other = (ProjectFolder(tmp_path / name) for name in ("owner", "other"))
    with running_sandbox(project=owner.open().workspace.id) as url:
        for project in (owner, other):
            project.destinations({"crm": {"type": "webhook", "url": f"{url}/crm"}})
            meta = {"key": "user_id", "sync": [{"to": "crm"}]}
            project.audience("vips", "select 'u1' as user_id", meta)
        (refused,) = other.open().sync("vips")
        (taken,) = owner.open().sync("vips")
        log = httpx.get(f"{url}/_/requests/crm").json()
    assert (refused.status, refused.exit_code, taken.status, len(log)) == ("refused", 4, "success", 1)
    assert refused.error is not None
    assert "belongs to another project, shop. Nothing was sent." in refused.error
