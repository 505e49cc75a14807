"""What google_conversions sends, as Google's own message types read it, and beside Google's sample.

The packages of the Data Manager API (google-ads-datamanager, google-ads-datamanager-util) are asked where
they are installed.
"""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from revetl.destinations import make_destination
from revetl.destinations.google import conversion_events as events
from revetl.destinations.google.common import WAYS_OUT
from revetl.destinations.google.conversion_status import FOR_NOW, PREFIXES, PROCESSING
from tests.destinations.test_cases import Player

json_format = pytest.importorskip("google.protobuf.json_format")
types = pytest.importorskip("google.ads.datamanager_v1.types")
CASES = orjson.loads((Path(__file__).parents[1] / "cases" / "google_conversions.json").read_bytes())["cases"]
OF_CUSTOMER_MATCH = {
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE",
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS",
    "INCOMPATIBLE_UPLOAD_KEY_TYPE",
    "NOT_ON_ALLOWLIST_FOR_USER_ID",
    "USER_PERMISSION_DENIED",
}
"""Codes of the Google Ads API."""


def read(name: str, content: Any) -> Any:
    """A message as Google's type reads it, which refuses a field or a word that it does not have."""
    kind = getattr(types, name)
    return kind.wrap(json_format.ParseDict(content, kind.pb(kind())))


def bodies_of(case: dict[str, Any]) -> list[Any]:
    """The bodies of the events that a case sends."""
    config = {"type": "google_conversions", **case["config"], **case["secrets"]}
    player = Player(make_destination(config, case["name"]), case)
    asyncio.run(player.play())
    return [orjson.loads(each.content) for each in player.sent if each.content]


@pytest.mark.parametrize(
    "case", [each for each in CASES if "repeat" not in each], ids=lambda case: case["name"]
)
def test_google_reads_every_request_as_it_was_meant(case: dict[str, Any]) -> None:
    bodies = bodies_of(case)
    assert bodies or set(case["outcome"]["rejected"]) == {str(at) for at, _ in enumerate(case["records"])}
    for body in bodies:
        message = read("IngestEventsRequest", body)
        # What comes back is what went in: nothing was read as another kind, or cleared by its neighbor.
        back = json_format.MessageToDict(type(message).pb(message))
        assert _numbers(back) == _numbers(body)


def _numbers(value: Any) -> Any:
    """64-bit integers are texts in Google's JSON."""
    if isinstance(value, dict):
        return {name: str(each) if name == "quantity" else _numbers(each) for name, each in value.items()}
    return [_numbers(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_google_has_such_answers(case: dict[str, Any]) -> None:
    reasons = {each.name for each in types.ErrorReason}
    for body in (each["body"] for each in case["responses"]):
        if "requestStatusPerDestination" in body and "PAUSED" not in str(body):
            assert read("RetrieveRequestStatusResponse", body).request_status_per_destination
        if "requestId" in body:
            assert read("IngestEventsResponse", body).request_id
        for detail in body.get("error", {}).get("details", []):
            assert {each["reason"] for each in detail.get("fieldViolations", [])} <= reasons


def test_the_words_are_google_s() -> None:
    assert set(events.SOURCES) | {"EVENT_SOURCE_UNSPECIFIED"} == {each.name for each in types.EventSource}
    assert set(events.USER["customerType"]) < {each.name for each in types.CustomerType}
    assert set(events.USER["customerValueBucket"]) < {each.name for each in types.CustomerValueBucket}
    of_events = events.FIELDS - {events.ADJUSTMENT, *events.CART_FIELDS, *events.CONSENTS, *events.USER}
    assert of_events <= _names("Event")
    assert set(events.CART_FIELDS) <= _names("CartData")
    assert set(events.ITEM) <= _names("Item")
    assert set(events.CONSENTS) == _names("Consent")
    assert {*events.CLICKS, "sessionAttributes"} <= _names("AdIdentifiers")
    reasons = {each.name.removeprefix(PREFIXES[0]) for each in types.ProcessingErrorReason}
    assert reasons >= FOR_NOW
    states = {each.name for each in types.RequestStatusPerDestination.RequestStatus}
    assert states >= set(PROCESSING)
    assert WAYS_OUT.keys() - OF_CUSTOMER_MATCH <= {each.name for each in types.ErrorReason}


def test_the_api_has_no_kind_of_adjustment() -> None:
    """What the sheet says of retractions: there is no field for them."""
    names = {each.lower() for each in _names("Event") | _names("IngestEventsRequest")}
    assert not [each for each in names if "adjust" in each or "retract" in each or "restate" in each]


def _names(kind: str) -> set[str]:
    made = getattr(types, kind)
    return {each.json_name for each in made.pb(made()).DESCRIPTOR.fields}


def test_an_event_is_that_of_google_s_sample() -> None:
    """The same event, made as `ingest_events.py` of googleads/data-manager-python makes it."""
    pytest.importorskip("google.ads.datamanager_util.format")
    format_ = importlib.import_module("google.ads.datamanager_util.format")
    formatter, hex_ = format_.Formatter(), format_.Encoding.HEX
    theirs = types.Event(
        transaction_id="ABC798654321",
        event_source="WEB",
        ad_identifiers=types.AdIdentifiers(gclid="GCLID123"),
        currency="USD",
        conversion_value=1.99,
        consent=types.Consent(ad_user_data="CONSENT_GRANTED", ad_personalization="CONSENT_GRANTED"),
        user_data=types.UserData(
            user_identifiers=[
                types.UserIdentifier(
                    email_address=formatter.process_email_address(" Alex.F+shop@GMAIL.com", hex_)
                ),
                types.UserIdentifier(phone_number=formatter.process_phone_number("+1 800-555-0101", hex_)),
                types.UserIdentifier(
                    address=types.AddressInfo(
                        given_name=formatter.process_given_name(" Alex", hex_),
                        family_name=formatter.process_family_name("O'Neil ", hex_),
                        region_code=formatter.format_region_code("us"),
                        postal_code=formatter.format_postal_code(" 94025 "),
                    )
                ),
            ]
        ),
    )
    theirs.event_timestamp = "2025-06-06T16:45:09.333Z"
    case = {
        "operation": "track",
        "event": "Order Completed",
        "timestamp": "at",
        "mapping": {"transactionId": "order", "conversionValue": "value", "currency": "currency"},
        "records": [
            {
                "email": " Alex.F+shop@GMAIL.com",
                "phone": "+1 800-555-0101",
                "first_name": " Alex",
                "last_name": "O'Neil ",
                "country": "us",
                "postal_code": " 94025 ",
                "gclid": "GCLID123",
                "order": "ABC798654321",
                "value": 1.99,
                "currency": "USD",
                "at": "2025-06-06T16:45:09.333+00:00",
            }
        ],
        "responses": [{"status": 200, "body": {"requestId": "r"}}],
        "config": {
            "customer_id": "1",
            "conversion_action_id": "2",
            "ad_user_data": "GRANTED",
            "ad_personalization": "GRANTED",
        },
        "secrets": {"access_token": "T"},
        "name": "sample",
    }
    (body,) = bodies_of(case)
    (ours,) = body["events"]
    assert read("Event", ours) == theirs
