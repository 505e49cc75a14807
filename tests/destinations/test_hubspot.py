"""What of HubSpot no contract case shows: pauses, and audiences as events."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from revetl.destinations import make_destination
from revetl.destinations.base.destination import Destination, Record, Records
from revetl.errors import UsageError


def hubspot(**more: Any) -> Destination:
    return make_destination({"type": "hubspot", "access_token": "TOKEN", **more}, "destinations.crm")


@pytest.mark.parametrize(
    ("status", "headers", "body", "seconds"),
    [
        (200, {"X-HubSpot-RateLimit-Remaining": "3"}, {}, None),
        (
            200,
            {"X-HubSpot-RateLimit-Remaining": "0", "X-HubSpot-RateLimit-Interval-Milliseconds": "5000"},
            {},
            5.0,
        ),
        (429, {"X-HubSpot-RateLimit-Remaining": "0"}, {"policyName": "TEN_SECONDLY_ROLLING"}, 10.0),
        (429, {"Retry-After": "7"}, {"policyName": "TEN_SECONDLY_ROLLING"}, None),
        (429, {}, {"policyName": "DAILY"}, 86_400.0),
    ],
)
def test_the_pause_that_is_asked_for(
    status: int, headers: dict[str, str], body: dict[str, str], seconds: float | None
) -> None:
    assert hubspot().pause(httpx.Response(status, headers=headers, json=body)) == seconds


def test_companies_are_not_found_by_an_address() -> None:
    with pytest.raises(UsageError, match="id_property"):
        hubspot(object_type="companies")


def test_entering_an_audience_is_an_event_by_its_name_there() -> None:
    record = Record("u1", {"email": "ada@example.com"}, {"plan": ["a", "b"]}, "run")
    records = Records("vips.crm", "vips", "run", "remove", (record,), at="2026-01-02T03:04:05.000Z")
    flow = hubspot(event_names={"Audience Exited": "pe77_left"}).flow("audience_events", records)
    request = next(flow)
    assert isinstance(request, httpx.Request)
    (event,) = orjson.loads(request.content)["inputs"]
    assert event["eventName"] == "pe77_left"
    assert event["properties"] == {"plan": "a;b", "audience_key": "vips", "vips": False}
