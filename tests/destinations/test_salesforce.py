"""What of Salesforce no contract case shows: pauses, and questions that are too long for one address."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from revetl.destinations import make_destination
from revetl.destinations.base import Record, Records, Rejection, Unfinished, Wait
from revetl.destinations.salesforce import Salesforce
from revetl.destinations.salesforce_bulk import Outcome, run_job
from revetl.destinations.salesforce_soql import rows_by
from revetl.errors import UsageError

CONFIG: dict[str, Any] = {
    "type": "salesforce",
    "instance_url": "https://acme.my.salesforce.com",
    "external_id_field": "Ext__c",
    "access_token": "TOKEN",
}


def salesforce() -> Salesforce:
    made = make_destination(CONFIG, "destinations.crm")
    assert isinstance(made, Salesforce)
    return made


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("TotalRequests Limit exceeded.", 86_400.0),
        ("ConcurrentRequests (Concurrent API Requests) Limit", None),
    ],
)
def test_a_limit_of_a_day_is_waited_for_by_no_one(message: str, seconds: float | None) -> None:
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
    assert salesforce().pause(httpx.Response(403, json=body)) == seconds


def test_a_long_question_is_asked_in_parts() -> None:
    names = [f"o'neil {i} {'é' * 20}" for i in range(1_000)]
    asking = rows_by(salesforce().call, (), "Contact", "Ext__c", names)
    asked, request = [], next(asking)
    while True:
        assert isinstance(request, httpx.Request)
        assert len(request.url.raw_path) < 16_000
        asked.append(request.url.params["q"])
        try:
            request = asking.send(httpx.Response(200, json={"done": True, "records": []}))
        except StopIteration:
            break
    assert len(asked) > 1
    assert all(sum(f"neil {i} " in text for text in asked) == 1 for i in range(1_000))


@pytest.mark.parametrize("given", [{}, {"client_id": "ID"}, {"client_id": "ID", "private_key": "PEM"}])
def test_without_a_grant_it_is_no_configuration(given: dict[str, Any]) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "access_token"}
    with pytest.raises(UsageError, match="client_secret"):
        make_destination({**config, **given}, "destinations.crm")


def test_entering_an_audience_is_a_task_with_its_name() -> None:
    record = Record("u1", {"Ext__c": "u1"}, {"Priority": "High"}, "run")
    records = Records("vips.crm", "vips", "run", "add", (record,), at="2026-01-02T03:04:05.000Z")
    flow = salesforce().flow("audience_events", records)
    next(flow)
    request = flow.send(httpx.Response(200, json={"done": True, "records": [{"Id": "003A", "Ext__c": "u1"}]}))
    assert isinstance(request, httpx.Request)
    (task,) = orjson.loads(request.content)["records"]
    assert task == {
        "attributes": {"type": "Task"},
        "Subject": "Audience Entered: vips",
        "Status": "Completed",
        "ActivityDate": "2026-01-02",
        "WhoId": "003A",
        "Priority": "High",
    }


HEAD = {"ok": '"sf__Id","sf__Created","Ext__c"\n', "bad": '"sf__Id","sf__Error","Ext__c"\n'}
FINE = [Outcome("003A"), Outcome("003B")]
REFUSED = Outcome(None, "BAD", Rejection("BAD: no", "Name"))
RESULTS: dict[str, tuple[int, int, str, str, list[Outcome] | None]] = {
    "all are done, no failures are a header": (2, 0, "003A,true,u1\n003B,true,u2\n", "", FINE),
    "all are done, no failures are an empty body": (2, 0, "003A,true,u1\n003B,true,u2\n", "EMPTY", FINE),
    "all failed, no successes are an empty body": (
        2,
        2,
        "EMPTY",
        ',BAD:no:Name --,"u1"\n,BAD:no:Name --,u2\n',
        [REFUSED] * 2,
    ),
    "an empty body, and rows that the job counts": (2, 0, "EMPTY", "", None),
    "an empty body, and failures that the job counts": (2, 1, "003A,true,u1\n", "EMPTY", None),
    "a body that is cut": (2, 0, "003A,true,u1\n", "", None),
    "a success without an id": (2, 0, ",true,u1\n003B,true,u2\n", "", None),
    "a failure that is of no field": (
        *(2, 1, "003A,true,u1\n", ",BAD:a: b:--,u2\n"),
        [FINE[0], Outcome(None, "BAD", Rejection("BAD: a: b"))],
    ),
    "a failure without a reason": (
        *(2, 1, "003A,true,u1\n", ",,u2\n"),
        [FINE[0], Outcome(None, "UNKNOWN_EXCEPTION", Rejection("no reason is given"))],
    ),
}


@pytest.mark.parametrize(
    ("processed", "failed", "ok", "bad", "expected"), RESULTS.values(), ids=RESULTS.keys()
)
def test_the_results_of_a_job_are_believed_as_far_as_its_counts_agree(
    processed: int, failed: int, ok: str, bad: str, expected: list[Outcome] | None
) -> None:
    connector = salesforce()
    job = {"id": "750A", "state": "JobComplete"}
    counts = {"numberRecordsProcessed": processed, "numberRecordsFailed": failed}
    texts = ["" if rows == "EMPTY" else HEAD[kind] + rows for kind, rows in (("ok", ok), ("bad", bad))]
    answers = [
        *(httpx.Response(200, json=job), httpx.Response(201), httpx.Response(200, json=job)),
        httpx.Response(200, json={**job, **counts}),
        *(httpx.Response(200, text=text) for text in texts),
    ]
    flow = run_job(connector.call, {}, "Ext__c", [{"Ext__c": "u1"}, {"Ext__c": "u2"}])
    asked = next(flow)
    outcomes: object = None
    try:
        for answer in answers:
            while isinstance(asked, Wait):
                asked = next(flow)
            answer.request = asked
            assert connector.misread(answer) is None, asked.url
            asked = flow.send(answer)
    except StopIteration as stop:
        outcomes = stop.value
    except Unfinished:
        outcomes = None
    assert outcomes == expected
