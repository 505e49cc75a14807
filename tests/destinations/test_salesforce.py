"""What of Salesforce no contract case shows: pauses, and questions that are too long for one address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.destinations import make_destination
from revetl.destinations.base.destination import (
    JobUnfinished,
    Record,
    Records,
    Refused,
    Rejection,
    Wait,
)
from revetl.destinations.base.readable_text import readable
from revetl.destinations.salesforce.bulk import RowResult, run_job
from revetl.destinations.salesforce.destination import Salesforce
from revetl.destinations.salesforce.soql import rows_by
from revetl.destinations.salesforce.task import LONGEST, subject, task_fields
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
FINE = [RowResult("003A"), RowResult("003B")]
REFUSED = RowResult(None, "BAD", Rejection("BAD: no", "Name"))
RESULTS: dict[str, tuple[int, int, str, str, list[RowResult] | None]] = {
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
        [FINE[0], RowResult(None, "BAD", Rejection("BAD: a: b"))],
    ),
    "a failure without a reason": (
        *(2, 1, "003A,true,u1\n", ",,u2\n"),
        [FINE[0], RowResult(None, "UNKNOWN_EXCEPTION", Rejection("no reason given"))],
    ),
}


@pytest.mark.parametrize(
    ("processed", "failed", "ok", "bad", "expected"), RESULTS.values(), ids=RESULTS.keys()
)
def test_the_results_of_a_job_are_believed_as_far_as_its_counts_agree(
    processed: int, failed: int, ok: str, bad: str, expected: list[RowResult] | None
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
    except JobUnfinished:
        outcomes = None
    assert outcomes == expected


TASK: dict[str, Any] = {
    "name": "Task",
    "fields": [
        {"name": "Id", "type": "id", "createable": False},
        *(
            {"name": name, "type": "string", "createable": True}
            for name in ("Subject", "Priority", "Description")
        ),
        {"name": "CallDurationInSeconds", "type": "int", "createable": True},
    ],
}


def task_of(mode: str, fields: dict[str, Any], *, spreads: bool = True) -> dict[str, Any]:
    """The task that an event of these fields becomes in an org that has `TASK`."""
    crm = salesforce()
    whole = Records(
        "s", "vips", "run", "add", (), event="Seen", at="2026-01-02T03:04:05.000Z", spreads=spreads
    )
    asking = crm.prepare(mode, whole, dict.fromkeys(fields, "VARCHAR"))
    step: Any = next(asking)
    with pytest.raises(StopIteration) as prepared:
        while True:
            found = TASK if step.url.path.endswith("describe") else {"done": True, "records": [{"Id": "701"}]}
            step = asking.send(httpx.Response(200, json=found))
    records = replace(prepared.value.value, records=(Record("u1", {"Ext__c": "u1"}, fields, "run"),))
    flow = crm.flow(mode, records)
    next(flow)
    request = flow.send(httpx.Response(200, json={"done": True, "records": [{"Id": "003A", "Ext__c": "u1"}]}))
    assert isinstance(request, httpx.Request)
    (task,) = orjson.loads(request.content)["records"]
    about = ("attributes", "Status", "ActivityDate", "WhoId")
    return {name: value for name, value in task.items() if name not in about}


@pytest.mark.parametrize(
    ("mode", "fields", "task"),
    [
        (
            "events",
            {"product_id": "p1", "Priority": "High"},
            {"Priority": "High", "Description": "product_id: p1"},
        ),
        ("events", {"product_id": None, "tags": [], "meta": {"a": None}}, {}),
        ("events", {"CallDurationInSeconds": 12}, {"CallDurationInSeconds": 12}),
        # Whom a task is of is not for a property to say, nor what cannot be written.
        ("events", {"WhoId": "003B", "Id": "00T"}, {"Description": "WhoId: 003B\nId: 00T"}),
        ("events", {"Description": "Called.", "price": 3}, {"Description": "Called.\nprice: 3"}),
        ("events", {"Description": '{"price": 3}'}, {"Description": "price: 3"}),
        (
            "audience_events",
            {"plan": "pro"},
            {"Subject": "Audience Entered: vips", "Description": "plan: pro"},
        ),
    ],
    ids=str,
)
def test_properties_that_are_no_fields_of_a_task_are_read_in_its_description(
    mode: str, fields: dict[str, Any], task: dict[str, Any]
) -> None:
    assert task_of(mode, fields) == {"Subject": "Seen", **task}


def test_a_mapped_field_that_a_task_does_not_have_is_refused_before_the_first_record() -> None:
    with pytest.raises(Refused, match=r"Task has no writable field 'Priorty'\. Did you mean 'Priority'\?"):
        task_of("events", {"Priorty": "High"}, spreads=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": True, "c": "x", "d": 1.5}, "a: 1\nb: yes\nc: x\nd: 1.5"),
        ({"tags": ["a", None, 2]}, "tags: a, 2"),
        ({"cart": {"id": "c1", "total": 3}}, "cart:\n  id: c1\n  total: 3"),
        (
            {"items": [{"id": 1, "of": {"x": 2}}, {"id": 3}]},
            "items:\n  - id: 1\n    of:\n      x: 2\n  - id: 3",
        ),
        ({"note": "two\nlines"}, "note: two\n  lines"),
        ({"grid": [[1, 2], [3]]}, "grid:\n  - - 1\n    - 2\n  - - 3"),
        ({"nothing": None, "empty": "", "none": [], "of": [{}]}, ""),
    ],
    ids=str,
)
def test_values_as_readable_text(value: dict[str, Any], text: str) -> None:
    assert readable(value) == text


_SCALARS = st.one_of(st.integers(), st.text("abcé", min_size=1), st.floats(allow_nan=False), st.booleans())
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text("xyz", min_size=1), inner)),
    max_leaves=12,
)


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [
            leaf for each in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(each)
        ]
    return [("yes" if value else "no") if isinstance(value, bool) else str(value)]


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1), _VALUES, max_size=5))
def test_no_value_of_a_property_is_missing_from_a_description(properties: dict[str, Any]) -> None:
    text = task_fields(properties, ("Description",)).get("Description", "")
    assert len(text) <= LONGEST
    if len(text) < LONGEST:
        assert all(leaf in text for leaf in _leaves(properties))


def test_a_description_that_is_too_long_ends_in_an_ellipsis() -> None:
    (made,) = task_fields({"body": "x" * 40_000}, ()).values()
    assert (len(made), made[-2:]) == (LONGEST, "x…")


@pytest.mark.parametrize(
    ("kind", "rule"), [("Lead", "01QHp000000AbCdEAK"), ("Task", None), ("CampaignMember", None)]
)
def test_a_job_assigns_leads_and_no_tasks_and_members(kind: str, rule: str | None) -> None:
    given = {**CONFIG, "object": "Lead", "auto_assign": "01QHp000000AbCdEAK", "bulk_threshold": 1}
    destination = make_destination(given, "destinations.crm")
    assert isinstance(destination, Salesforce)
    rows: list[dict[str, Any]] = [{"Ext__c": "u1"}, {"Ext__c": "u2"}]
    request = next(destination.write("upsert", kind, rows, "Ext__c"))
    assert isinstance(request, httpx.Request)
    assert orjson.loads(request.content).get("assignmentRuleId") == rule


def test_a_blank_property_leaves_a_field_of_the_task_as_it_would_be_without() -> None:
    given = {"Subject": " ", "Priority": None, "Status": "", "Type": "Call", "note": "", "Score__c": 0}
    assert task_fields(given, ()) == {"Type": "Call", "Score__c": 0}


def test_a_subject_is_one_line_and_ends_where_salesforce_ends_it() -> None:
    assert subject("Order\nCompleted ") == "Order Completed"
    assert subject("☕" * 255) == "☕" * 255
    assert subject("☕" * 300) == "☕" * 254 + "…"
    assert task_fields({"Subject": "x" * 300}, ())["Subject"] == "x" * 254 + "…"
