"""Properties that a tool has no form for: they are changed or left out, and the event still goes out."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.delivery.batches import begun, cut_batches
from revetl.destinations import make_destination
from revetl.destinations.base.destination import Record, Records
from revetl.destinations.fullstory.destination import SHAPE as FULLSTORY
from revetl.destinations.google.analytics_rules import parameters_of
from revetl.destinations.heap.destination import EVENT as HEAP
from revetl.destinations.pendo.data import SHAPE as PENDO
from revetl.mapping.events import standard_events
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder

SENT = {
    "plan": "pro",
    "two words": 1,
    "address": {"city": "Oslo", "geo": {"lat": 59.9}},
    "tags": ["a", "b"],
    "lines": [{"sku": "s1"}],
    "9lives": True,
    "bio": "x" * 1_100,
}
FLAT = {"plan": "pro", "two_words": 1, "address_city": "Oslo", "address_geo_lat": 59.9}
TEXTS = {"tags": '["a","b"]', "lines": '[{"sku":"s1"}]'}
HOW = {"two words": "renamed", "address": "flattened", "lines": "sent as JSON text", "9lives": "left out"}
CONFIGS: dict[str, dict[str, Any]] = {
    "google_analytics": {"measurement_id": "G-1", "api_secret": "s"},
    "fullstory": {"api_key": "k"},
    "pendo": {"integration_key": "k"},
    "heap": {"app_id": "1"},
    "mailchimp": {"api_key": "k-us1", "list_id": "l"},
    "amplitude": {"api_key": "k", "min_id_length": 1},
    "iterable": {"api_key": "k"},
}
IDS = {
    "google_analytics": {"client_id": "1.2"},
    "pendo": {"visitorId": "u1"},
    "fullstory": {"uid": "u1"},
    "heap": {"identity": "u1"},
    "mailchimp": {"email_address": "a@example.com"},
    "amplitude": {"user_id": "u"},
    "iterable": {"email": "a@example.com"},
}
TAKEN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "google_analytics": (
        {**FLAT, **TEXTS, "bio": "x" * 100},
        {**HOW, "tags": "sent as JSON text", "bio": "cut"},
    ),
    "fullstory": (
        {
            "plan": "pro",
            "two_words": 1,
            "address": SENT["address"],
            "tags": ["a", "b"],
            "lines": ['{"sku":"s1"}'],
            "bio": "x" * 1_100,
        },
        {"two words": "renamed", "lines": "sent as JSON text", "9lives": "left out"},
    ),
    "pendo": ({**FLAT, **TEXTS}, {**HOW, "tags": "sent as JSON text", "bio": "left out"}),
    "heap": (
        {
            "plan": "pro",
            "two words": 1,
            "address_city": "Oslo",
            "address_geo_lat": 59.9,
            "tags": ["a", "b"],
            "lines": ['{"sku":"s1"}'],
            "9lives": True,
            "bio": "x" * 1_024,
        },
        {"address": "flattened", "lines": "sent as JSON text", "bio": "cut"},
    ),
}


def request_of(kind: str, mode: str, operation: str, fields: dict[str, Any]) -> tuple[httpx.Request, Any]:
    """The first request of one record, and what was adjusted."""
    destination = make_destination({"type": kind, **CONFIGS[kind]}, kind)
    event = "Plan Changed" if mode == "events" else None
    record = Record("u1", IDS[kind], fields, "r1", event=event)
    whole = Records("s", "vips", "r1", operation, (), at="2026-01-02T03:04:05Z", audience_id="7")
    adjusted: dict[str, str] = {}
    cuts = cut_batches(destination, mode, whole, [(0, [record])], adjusted.__setitem__)
    (cut,) = cuts
    assert not cut.refused
    request = begun(destination, mode, cut).request
    assert request is not None
    return request, adjusted


@pytest.mark.parametrize("kind", TAKEN)
def test_a_property_that_a_tool_has_no_form_for_does_not_cost_the_event(kind: str) -> None:
    request, adjusted = request_of(kind, "events", "add", SENT)
    body = orjson.loads(request.content)
    (event,) = body.get("events") or body.get("requests") or [body]
    assert (event["params" if kind == "google_analytics" else "properties"], adjusted) == TAKEN[kind]


def test_mailchimp_is_sent_json_and_not_python() -> None:
    values = {"yes": True, "map": {"a": 1}, "list": [1, None], "number": 1.5, "text": "t", "nothing": None}
    request, _ = request_of("mailchimp", "events", "add", values)
    assert json.loads(request.content)["properties"] == {
        "yes": "true",
        "map": '{"a":1}',
        "list": "[1,null]",
        "number": "1.5",
        "text": "t",
    }


def test_amplitude_identifies_by_short_ids_where_they_are_allowed() -> None:
    request, _ = request_of("amplitude", "upsert", "add", {"plan": "pro"})
    assert parse_qs(request.content.decode())["options"] == ['{"min_id_length":1}']


def test_iterable_takes_people_out_of_a_list_and_unsubscribes_them_from_nothing() -> None:
    request, _ = request_of("iterable", "mirror", "remove", {})
    assert json.loads(request.content)["channelUnsubscribe"] is False


@pytest.mark.parametrize("kind", ["google_analytics", "facebook_conversions"])
@pytest.mark.parametrize(
    ("properties", "value"),
    [
        ({"price": 10, "quantity": 3}, 30),
        ({"price": "9.99", "quantity": 2}, 19.98),
        ({"price": 10}, 10),
        ({"price": 10, "quantity": 3, "value": 25}, 25),
        ({"quantity": 3}, None),
        ({"price": "free", "quantity": 3}, None),
    ],
)
def test_the_value_of_a_product_is_its_price_times_its_quantity(
    kind: str, properties: dict[str, Any], value: float | None
) -> None:
    rule = standard_events(kind)["Product Added"]
    assert rule.made({"properties": properties}, properties).get("value") == value


@pytest.mark.parametrize(
    ("items", "sent"),
    [
        ([{"item_id": "1"}, {"price": 2}], [{"item_id": "1"}]),
        ([{"quantity": 1}], None),
        ([{"item_name": "n", "tags": ["a"]}], [{"item_name": "n"}]),
    ],
)
def test_google_is_sent_no_item_without_id_and_name(items: list[Any], sent: list[Any] | None) -> None:
    request, adjusted = request_of("google_analytics", "events", "add", {"items": items})
    (event,) = orjson.loads(request.content)["events"]
    assert (event["params"].get("items"), adjusted) == (sent, {"items": "left out"})


def test_a_run_says_which_fields_it_adjusted(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.destinations(
        {
            "ga": {
                "type": "google_analytics",
                "base_url": f"{sandbox.url}/google_analytics",
                **CONFIGS["google_analytics"],
            }
        }
    )
    rows = " union all ".join(
        f"select 'e{at}' as id, '1.{at}' as client_id, 'Plan Changed' as event, "
        f'\'{{"two words": 1, "plan": "pro"}}\'::json as properties'
        for at in range(3)
    )
    sync = {"to": "ga", "mode": "events", "event_column": "event", "identifiers": {"client_id": "client_id"}}
    project.audience("happened", rows, {"key": "id", "sync": [sync]})
    said = cli(project, "sync", "audience", "happened")
    assert (said.returncode, "two words: renamed (3 records)" in said.stdout + said.stderr) == (0, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=40), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "shape", [FULLSTORY, PENDO, HEAP, parameters_of(1)], ids=["fullstory", "pendo", "heap", "ga4"]
)
@settings(max_examples=25)
@given(fields=st.dictionaries(st.text(max_size=40), JSON, max_size=30))
def test_what_was_fitted_fits(shape: Any, fields: dict[str, Any]) -> None:
    made, how = shape.fitted(fields)
    assert shape.fitted(made) == (made, {})
    assert how.keys() <= fields.keys()
