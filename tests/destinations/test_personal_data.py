"""Personal data among the properties of events, over every ads and analytics destination that takes any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import orjson
import pytest

from revetl.config.models import SyncConfig
from revetl.delivery.batches import cut_batches
from revetl.delivery.serializer import record_of, shaping_of, withheld_note
from revetl.destinations import TYPES, destination_class, make_destination
from revetl.destinations.base.destination import Records
from revetl.destinations.base.personal_data import WithholdsPersonalData
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder

PROPERTIES = [
    *("email", "phone", "Billing Email", "userPhone", "first_name", "lastName", "postal_code"),
    *(
        "date_of_birth",
        "referred_by",
        "value",
        "currency",
        "email_campaign",
        "has_email",
        "name",
        "phone_model",
    ),
]
TOOLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "facebook_conversions": ({"pixel_id": "7", "access_token": "T"}, {"external_id": "h"}),
    "google_analytics": ({"measurement_id": "G-1", "api_secret": "s"}, {"client_id": "1.2"}),
    "google_conversions": (
        {
            "customer_id": "1",
            "conversion_action_id": "9",
            "access_token": "T",
            # It takes no other properties than those that it names.
            "custom_variables": PROPERTIES,
        },
        {"gclid": "Cj0K"},
    ),
    "mixpanel": ({"project_token": "t"}, {"distinct_id": "u1"}),
    "amplitude": ({"api_key": "k"}, {"user_id": "user-1"}),
    "heap": ({"app_id": "1", "api_key": "k"}, {"identity": "u1"}),
    "pendo": ({"integration_key": "k", "track_event_secret": "s"}, {"visitorId": "u1"}),
    "fullstory": ({"api_key": "k"}, {"uid": "u1"}),
}
"""Configuration and identifiers, by type."""

PERSONAL = {
    "email": "ada@example.com",
    "Billing Email": "ada@example.com",
    "userPhone": "+44 20 7946 0958",
    "first_name": "Ada",
    "lastName": "Lovelace",
    "postal_code": "EC1",
    "date_of_birth": "1815-12-10",
    "referred_by": "friend@example.com",
}
HARMLESS = {
    "value": 12.5,
    "currency": "EUR",
    "email_campaign": "spring",
    "has_email": True,
    "name": "Jacket",
    "phone_model": "X1",
}
ALWAYS = ("facebook_conversions", "google_analytics", "google_conversions")
EVENTS_ALONE = {"facebook_conversions", "google_conversions"}
FLAT = {"google_analytics", "google_conversions"}
"""Those that take no objects and lists among properties."""


def sent(kind: str, mode: Any, fields: Any, sync: Any = None, **more: Any) -> tuple[str, str | None]:
    """The text of the requests that a record with these fields makes, and what is noted of it."""
    config, known = TOOLS[kind]
    destination = make_destination({"type": kind, **config, **more}, kind)
    shaping = shaping_of(SyncConfig(to="it", mode=mode, **(sync or {})), destination)
    record = record_of(shaping, "add", "k", orjson.dumps(known).decode(), orjson.dumps(fields).decode(), "r")
    whole = Records("a.b", "a", "run", "add", (), event="ordered", at="2026-01-02T03:04:05.000Z")
    (cut,) = cut_batches(destination, mode, whole, [(0, [record])])
    assert cut.refused == {}
    assert cut.request is not None
    return unquote_plus(cut.request.content.decode()), withheld_note(shaping, destination)


def test_every_destination_for_ads_and_analytics_that_takes_properties_is_looked_at() -> None:
    watched = {kind for kind in TYPES if issubclass(destination_class(kind, kind), WithholdsPersonalData)}
    assert watched == TOOLS.keys()


@pytest.mark.parametrize("kind", sorted(TOOLS))
def test_personal_data_among_the_properties_of_an_event_is_not_sent_and_that_is_said(kind: str) -> None:
    text, note = sent(kind, "events", {**PERSONAL, **HARMLESS}, {"event": "ordered"})
    assert [name for name in (*PERSONAL, *PERSONAL.values()) if f'"{name}"' in text] == []
    assert [name for name in HARMLESS if f'"{name}"' not in text] == []
    names = ", ".join(sorted(PERSONAL))
    assert note == (
        f"not sent to {kind}, because the name or value looks like personal data: {names}. "
        "To send one, add it to allow_personal_data of the destination"
    )


@pytest.mark.parametrize("kind", sorted(TOOLS.keys() - FLAT))
def test_so_it_is_inside_of_objects_and_lists(kind: str) -> None:
    fields = {"contact": {"email": "ada@example.com", "plan": "pro"}, "to": ["ada@example.com", "team"]}
    text, note = sent(kind, "events", fields, {"event": "ordered"})
    assert "ada@example.com" not in text
    assert 'plan"' in text  # some tools take no objects, and have it as contact_plan
    assert note is not None and "contact.email, to." in note


@pytest.mark.parametrize("kind", sorted(TOOLS))
def test_what_is_allowed_by_name_is_sent(kind: str) -> None:
    fields = {"email": "ada@example.com", "phone": "1"}
    text, note = sent(kind, "events", fields, {"event": "ordered"}, allow_personal_data=["Email"])
    assert ('"email"' in text, '"phone"' in text) == (True, False)
    assert note is not None and "email" not in note


@pytest.mark.parametrize("kind", sorted(TOOLS))
def test_fields_that_a_sync_names_are_allowed_but_where_the_vendor_forbids_them(kind: str) -> None:
    named = {"event": "ordered", "fields": {"email": "email"}}
    text, _ = sent(kind, "events", {"email": "ada@example.com"}, named)
    assert ("ada@example.com" in text) is (kind not in ALWAYS)


@pytest.mark.parametrize("kind", sorted(TOOLS.keys() - EVENTS_ALONE))
def test_fields_of_people_are_sent_to_product_analytics_and_never_to_google_analytics(
    kind: str,
) -> None:
    text, _ = sent(kind, "upsert", {"email": "ada@example.com", "plan": "pro"})
    assert "plan" in text
    assert ("ada@example" in text) is (kind not in ALWAYS)


def test_a_plan_and_a_run_say_once_what_was_left_out(
    tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    """Properties are spread from JSON, so no column tells of them."""
    config = {"type": "facebook_conversions", "pixel_id": "7", "access_token": "T", "retries": 0}
    url = f"{sandbox.url}/facebook_conversions"
    project = ProjectFolder(tmp_path / "shop", {"meta": {**config, "base_url": url}})
    rows = ", ".join(
        f"""('m{n}', 'u{n}', 'Order Completed', now(), '{{"email": "a{n}@example.com", "total": {n}}}')"""
        for n in range(3)
    )
    query = f"select * from (values {rows}) as t (message_id, user_id, event, happened_at, properties)"
    sync = {
        "to": "meta",
        "mode": "events",
        "event_column": "event",
        "timestamp": "happened_at",
        "identifiers": {"external_id": "user_id"},
        "standard_events": False,
    }
    project.audience("orders", query, {"key": "message_id", "sync": [sync]})
    (plan,) = json.loads(cli(project, "plan", "audience", "orders", "-o", "json").stdout)
    assert [note.startswith("not sent to facebook_conversions") for note in plan["notes"]] == [True]
    assert "@example.com" not in json.dumps(plan["preview"]["requests"])
    done = cli(project, "sync", "audience", "orders")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("looks like personal data: email.") == 1
