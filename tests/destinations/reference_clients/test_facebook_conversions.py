"""What facebook_conversions sends, beside what Meta's own SDK makes of the same events."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import orjson
import pytest

from revetl.destinations import make_destination
from revetl.destinations.facebook.conversions import OF_THE_EVENT, ActionSource, FacebookConversions
from tests.destinations.test_cases import Player

serverside = pytest.importorskip("facebook_business.adobjects.serverside.event")
user_data = pytest.importorskip("facebook_business.adobjects.serverside.user_data")
custom_data = pytest.importorskip("facebook_business.adobjects.serverside.custom_data")
action_source = pytest.importorskip("facebook_business.adobjects.serverside.action_source")
gender = pytest.importorskip("facebook_business.adobjects.serverside.gender")

IN_LISTS = ("em", "ph", "fn", "ln", "ct", "st", "zp", "country", "ge", "db", "external_id")
PLAIN = {
    "external_id": "u1",
    "client_ip_address": "192.0.2.1",
    "client_user_agent": "Mozilla/5.0",
    "fbc": "fb.1.2.3",
}
PERSON = {
    "email": " Ada@Example.com ",
    "phone": "+44 (20) 7946-0958",
    "first_name": " Ada",
    "last_name": "Lovelace",
    "city": "San Francisco",
    "state": "CA",
    "zip_code": "94025-1234",
    "country_code": "us",
    "date_of_birth": "19151210",
}
CUSTOM = {"value": 12.5, "currency": "gbp", "content_ids": ["a-1"], "order_id": "o-1", "num_items": 2}


def ours() -> dict[str, Any]:
    """The event that we send."""
    columns = {"zip_code": "postal_code", "country_code": "country", "external_id": "user_id"}
    row: dict[str, Any] = {columns.get(name, name): value for name, value in {**PERSON, **PLAIN}.items()}
    row |= {**CUSTOM, "gender": "Female", "url": "https://shop.example", "at": "2026-01-01T10:00:00Z"}
    config = {"type": "facebook_conversions", "pixel_id": "77", "access_token": "TOKEN"}
    case = {
        "operation": "track",
        "event": "Purchase",
        "timestamp": "at",
        "mapping": {**{name: name for name in CUSTOM}, "event_source_url": "url"},
        "records": [row],
        "responses": [],
    }
    player = Player(make_destination(config, "case"), case)
    asyncio.run(player.play())
    (request,) = player.sent
    (event,) = orjson.loads(request.content)["data"]
    found: dict[str, Any] = event
    return found


def theirs(event_id: str) -> dict[str, Any]:
    """The event that the SDK makes."""
    person = user_data.UserData(**PERSON, **PLAIN, gender=gender.Gender.FEMALE)
    found: dict[str, Any] = serverside.Event(
        event_name="Purchase",
        event_time=1_767_261_600,
        event_id=event_id,
        event_source_url="https://shop.example",
        action_source=action_source.ActionSource.WEBSITE,
        user_data=person,
        custom_data=custom_data.CustomData(**CUSTOM),
    ).normalize()
    return found


def test_an_event_is_that_of_the_sdk() -> None:
    event = ours()
    # It has lists of one key, and does not hash an external id, as Meta recommends to.
    hashed = event["user_data"]
    event["user_data"] = {name: [value] if name in IN_LISTS else value for name, value in hashed.items()}
    other = theirs(event["event_id"])
    assert event["user_data"].pop("external_id") != other["user_data"].pop("external_id")
    assert event == other


def test_names_are_those_of_the_sdk() -> None:
    assert {*get_args(ActionSource)} == {each.value for each in action_source.ActionSource}
    known = {*serverside.Event.param_types, "referrer_url", "attribution_data", "advanced_measurement_table"}
    assert known >= OF_THE_EVENT
    assert {"lead_id", "anon_id", "madid", "page_id"} <= {
        each.name for each in FacebookConversions.identifiers
    }
