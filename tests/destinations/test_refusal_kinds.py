"""What a refusal is about, in every connector: the moment (the record is sent again, and never rejected), or
the account, the audience or the mapping (the run stops, and nobody is rejected)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from revetl.destinations import TYPES, make_destination
from tests.destinations.test_cases import Player

TWO = [{"user_id": f"u{n}", "email": f"u{n}@example.com", "client_id": f"1.{n}"} for n in range(2)]
KEY: dict[str, Any] = {"api_key": "k"}
REFUSED = {"status": 403, "body": {"message": "no"}}
BUSY = {"status": 503, "body": {"message": "busy"}}
TOKEN = {"status": 200, "body": {"access_token": "T"}}


def ok(body: Any) -> dict[str, Any]:
    return {"status": 200, "body": body}


def google_errors(code: str) -> list[dict[str, Any]]:
    path = [{"fieldName": "operations", "index": 0}, {"fieldName": "create"}]
    about = {"errorCode": {"databaseError": code}, "message": code, "location": {"fieldPathElements": path}}
    return [{"errors": [about]}]


def meta(code: int, subcode: int | None = None) -> dict[str, Any]:
    return {"status": 400, "body": {"error": {"message": "no", "code": code, "error_subcode": subcode}}}


def salesforce(code: str, message: str = "no") -> dict[str, Any]:
    error = {"statusCode": code, "message": message, "fields": []}
    return ok([{"success": False, "errors": [error]}, {"id": "003B", "success": True, "errors": []}])


def marketo(code: str, status: str = "skipped") -> list[dict[str, Any]]:
    bad = {"status": status, "reasons": [{"code": code, "message": "no"}]}
    return [TOKEN, ok({"success": True, "result": [bad, {"id": 2, "status": "updated"}]})]


def marketo_error(code: str) -> list[dict[str, Any]]:
    return [TOKEN, ok({"success": False, "errors": [{"code": code, "message": "no"}]})]


def member_violation(code: str, place: int = 0) -> dict[str, Any]:
    violation = {"field": f"audience_members[{place}].user_data", "description": "no", "reason": code}
    body = {
        "error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"fieldViolations": [violation]}]}
    }
    return {"status": 400, "body": body}


def event_violation(code: str, field: str = "events.events[0].user_data") -> dict[str, Any]:
    violation = {"field": field, "description": "no", "reason": code}
    error = {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"fieldViolations": [violation]}]}
    return {"status": 400, "body": {"error": error}}


CONFIG: dict[str, dict[str, Any]] = {
    "amplitude": KEY,
    "braze": {**KEY, "base_url": "https://braze.example"},
    "census": {**KEY, "sync_id": 1},
    "close": {**KEY, "audience_field": "cf_1"},
    "copper": {"access_token": "t", "user_email": "a@example.com"},
    "customer_io": {**KEY, "site_id": "s"},
    "facebook_ads": {"access_token": "t", "ad_account_id": "1", "audience_id": "9"},
    "facebook_conversions": {"access_token": "t", "pixel_id": "7"},
    "file": {"path": "/nowhere"},
    "fullstory": KEY,
    "google_ads": {"access_token": "t", "developer_token": "d", "customer_id": "1", "audience_id": "9"},
    "google_ads.data_manager": {
        "api": "data_manager",
        "access_token": "t",
        "customer_id": "1",
        "audience_id": "9",
    },
    "google_analytics": {"api_secret": "s", "measurement_id": "G-1"},
    "google_conversions": {"access_token": "t", "customer_id": "1", "conversion_action_id": "9"},
    "heap": {"app_id": "1"},
    "hightouch": {**KEY, "sync_id": 1},
    "hubspot": {"access_token": "t"},
    "intercom": {"access_token": "t"},
    "iterable": KEY,
    "linkedin_ads": {"access_token": "t", "ad_account_id": "1", "audience_id": "9"},
    "mailchimp": {"api_key": "k-us1", "list_id": "l"},
    "marketo": {"client_id": "c", "client_secret": "s", "base_url": "https://marketo.example"},
    "mixpanel": {"project_token": "t"},
    "pendo": {"integration_key": "k"},
    "pipedrive": {"api_token": "t"},
    "polytomic": {**KEY, "sync_id": "1"},
    "salesforce": {"access_token": "t", "base_url": "https://sf.example", "external_id_field": "Ext__c"},
    "segment": {"write_key": "w"},
    "sendgrid": KEY,
    "snap_ads": {"access_token": "t", "ad_account_id": "1", "audience_id": "9"},
    "sql": {"connection": {"type": "duckdb", "path": "x"}, "table": "people"},
    "tiktok_ads": {"access_token": "t", "advertiser_id": "1", "audience_id": "9"},
    "twitter_ads": {
        "consumer_key": "a",
        "consumer_secret": "b",
        "access_token": "c",
        "access_token_secret": "d",
        "account_id": "1",
        "audience_id": "9",
    },
    "webhook": {"url": "https://hooks.example/in"},
}
OPERATION = {
    **dict.fromkeys(("facebook_ads", "google_ads", "google_ads.data_manager", "linkedin_ads"), "add"),
    **dict.fromkeys(("snap_ads", "tiktok_ads", "twitter_ads"), "add"),
    **dict.fromkeys(("facebook_conversions", "google_conversions"), "track"),
}

JOB = ok({"resourceName": "customers/1/offlineUserDataJobs/5"})
RAN = [ok({"name": "operations/1"}), ok({"results": [{"offlineUserDataJob": {"status": "SUCCESS"}}]})]
TRANSIENT: list[tuple[str, list[dict[str, Any]]]] = [
    ("amplitude", [{"status": 429, "body": {"code": 429, "error": "too many", "eps_threshold": 10}}]),
    ("braze", [ok({"message": "success", "errors": [{"type": "internal error, try again", "index": 0}]})]),
    ("customer_io", [ok({"errors": [{"batch_index": 0, "reason": "rate_limited", "message": "slow down"}]})]),
    ("facebook_ads", [meta(341)]),
    ("facebook_ads", [meta(368)]),
    ("facebook_ads", [meta(5000)]),
    ("facebook_conversions", [meta(5000)]),
    (
        "fullstory",
        [
            ok({"job": {"id": "j"}}),
            ok({"job": {"status": "FAILED"}}),
            ok(
                {
                    "results": [{"code": "internal_error", "message": "no", "user": {"uid": "u0"}}],
                    "total_records": 1,
                }
            ),
        ],
    ),
    *(
        ("google_ads", [JOB, ok({"partialFailureError": {"code": 3, "details": google_errors(code)}}), *RAN])
        for code in ("CONCURRENT_MODIFICATION", "TRANSIENT_ERROR", "INTERNAL_ERROR")
    ),
    ("google_ads", [{"status": 409, "body": {"error": {"code": 409, "status": "ABORTED", "message": "x"}}}]),
    ("google_ads.data_manager", [member_violation("CONCURRENT_MODIFICATION")]),
    (
        "google_ads.data_manager",
        [{"status": 409, "body": {"error": {"code": 409, "status": "ABORTED", "message": "x"}}}],
    ),
    ("google_conversions", [event_violation("INTERNAL_ERROR")]),
    ("google_conversions", [{"status": 503, "body": {"error": {"code": 503, "status": "UNAVAILABLE"}}}]),
    (
        "hubspot",
        [
            {
                "status": 207,
                "body": {
                    "results": [{"id": "2", "objectWriteTraceId": "1"}],
                    "errors": [
                        {"category": "RATE_LIMITS", "message": "x", "context": {"objectWriteTraceId": ["0"]}}
                    ],
                },
            }
        ],
    ),
    ("iterable", [ok({"successCount": 1, "failCount": 1, "failedUpdates": {}})]),
    ("linkedin_ads", [ok({"elements": [{"status": 503}, {"status": 201}]})]),
    ("mailchimp", [{"status": 403, "body": ""}]),
    *(("marketo", marketo(code)) for code in ("607", "611", "606", "615")),
    *(("marketo", marketo_error(code)) for code in ("611", "606")),
    (
        "mixpanel",
        [
            {
                "status": 400,
                "body": {"code": 400, "failed_records": [{"index": 0, "message": "internal server error"}]},
            }
        ],
    ),
    ("pendo", [ok({"multistatus": [{"status": 503}]})]),
    *(
        ("salesforce", [salesforce(code)])
        for code in ("QUERY_TIMEOUT", "ENTITY_IS_LOCKED", "UNABLE_TO_LOCK_ROW", "REQUEST_RUNNING_TOO_LONG")
    ),
    (
        "salesforce",
        [salesforce("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: UNABLE_TO_LOCK_ROW, unable to obtain lock")],
    ),
    (
        "salesforce",
        [
            salesforce(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: System.LimitException: Too many SOQL queries: 101"
            )
        ],
    ),
    (
        "sendgrid",
        [ok({"job_id": "j"}), ok({"status": "failed", "results": {}})],
    ),
    (
        "snap_ads",
        [
            ok(
                {
                    "request_status": "ERROR",
                    "users": [{"sub_request_status": "ERROR", "sub_request_error_reason": "Internal error"}],
                }
            )
        ],
    ),
    ("tiktok_ads", [ok({"code": 51_010, "message": "internal", "data": {}})]),
    ("tiktok_ads", [ok({"code": 40_100, "message": "too many", "data": {}})]),
    (
        "twitter_ads",
        [
            {
                "status": 400,
                "body": {
                    "data": {"success_count": 1},
                    "operation_errors": [{"code": "INTERNAL_ERROR", "message": "x"}, None],
                },
            }
        ],
    ),
]

OF_ALL: list[tuple[str, list[dict[str, Any]]]] = [
    ("amplitude", [{"status": 400, "body": {"code": 400, "error": "Invalid API key: k"}}]),
    ("braze", [{"status": 401, "body": {"message": "Invalid API Key"}}]),
    *(("facebook_ads", [meta(100, subcode)]) for subcode in (33, 1487301, 1487366, 1870034)),
    *(("facebook_ads", [meta(code)]) for code in (190, 200, 2650, 2655)),
    ("facebook_conversions", [meta(100, 33)]),
    (
        "google_ads",
        [JOB, ok({"partialFailureError": {"code": 3, "details": google_errors("INVALID_USER_LIST_TYPE")}})],
    ),
    ("google_ads.data_manager", [member_violation("INVALID_USER_LIST_TYPE")]),
    ("google_ads.data_manager", [member_violation("TERMS_AND_CONDITIONS_NOT_SIGNED")]),
    *(
        ("google_conversions", [event_violation(code)])
        for code in (
            "CONVERSION_ACTION_TOO_RECENTLY_CREATED",
            "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS",
            "USER_PERMISSION_DENIED",
        )
    ),
    ("google_conversions", [event_violation("INVALID_CONVERSION_ACTION_TYPE", "destinations[0]")]),
    ("heap", [{"status": 400, "body": {"error": "app_id is invalid"}}]),
    (
        "hubspot",
        [
            {
                "status": 207,
                "body": {"results": [], "errors": [{"category": "MISSING_SCOPES", "message": "x"}]},
            }
        ],
    ),
    ("iterable", [ok({"successCount": 2, "failCount": 0, "filteredOutFields": ["plan"]})]),
    ("linkedin_ads", [ok({"elements": [{"status": 403, "error": {"message": "no"}}] * 2})]),
    *(("marketo", marketo_error(code)) for code in ("600", "603", "609", "610", "1013")),
    *(("salesforce", [salesforce(code)]) for code in ("STORAGE_LIMIT_EXCEEDED", "API_DISABLED_FOR_ORG")),
    ("segment", [{"status": 400, "body": "invalid write key"}]),
    *(("tiktok_ads", [ok({"code": code, "message": "no", "data": {}})]) for code in (40_001, 40_016, 40_700)),
    (
        "twitter_ads",
        [{"status": 400, "body": {"errors": [{"code": "USER_NOT_ACCEPTED_TOS", "message": "no"}]}}],
    ),
]


def _each(told: list[tuple[str, list[dict[str, Any]]]], otherwise: dict[str, Any]) -> list[Any]:
    """The answers of each connector; those that say it by their status alone have that."""
    named = {kind for kind, _ in told}
    others = [(kind, [otherwise] * 4) for kind in sorted({*TYPES} - named)]
    count: dict[str, int] = {}
    found = []
    for kind, answers in (*told, *others):
        count[kind] = count.get(kind, 0) + 1
        found.append(pytest.param(kind, answers, id=f"{kind} {count[kind]}"))
    return found


def _played(kind: str, answers: list[dict[str, Any]]) -> Player:
    made = make_destination({"type": kind.partition(".")[0], **CONFIG[kind]}, kind)
    operation = OPERATION.get(kind, "upsert")
    case = {
        "operation": operation,
        "records": TWO,
        "responses": answers,
        "event": "Order Completed" if operation == "track" else None,
    }
    player = Player(made, case)
    asyncio.run(player.play())
    return player


@pytest.mark.parametrize(("kind", "answers"), _each(TRANSIENT, BUSY))
def test_what_is_over_soon_is_sent_again_and_never_rejected(kind: str, answers: list[dict[str, Any]]) -> None:
    if kind in ("census", "hightouch", "polytomic", "file", "sql"):
        pytest.skip("it is triggered once, or its carrier has no codes")
    outcome = _played(kind, answers).outcome
    assert 0 in outcome.retry
    assert (outcome.rejected, outcome.fatal) == ({}, False)


@pytest.mark.parametrize(("kind", "answers"), _each(OF_ALL, REFUSED))
def test_a_refusal_of_the_account_stops_the_run_and_rejects_nobody(
    kind: str, answers: list[dict[str, Any]]
) -> None:
    player = _played(kind, answers)
    assert (player.outcome.fatal, player.outcome.rejected, player.outcome.delivered) == (True, {}, [])
