"""Event mappings: paths, rules, standard events, casing, and skipped events."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from revetl.config.events import (
    Casing,
    EventRule,
    FieldRule,
    cased,
)
from revetl.config.models import SyncConfig
from revetl.errors import UsageError
from revetl.mapping.events import event_mapping_of, standard_events
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import synced

ORDER = {
    "order_id": "o-1",
    "revenue": "27.5",
    "total": 30.0,
    "currency": "usd",
    "coupon": None,
    "products": [
        {"product_id": 7, "name": 'A "mug"', "price": 10, "quantity": 2, "category": "Kitchen"},
        {"sku": "S9", "name": "Tea", "price": "7.50", "brand": "Ünïcode"},
    ],
}
VIEW = {"product_id": "p1", "name": "Tea", "category": "Drinks", "price": 7.5, "currency": "EUR"}


def rows(*events: tuple[str, str | None, Any]) -> str:
    """A model of events: key, name, properties."""
    made = [
        f"select '{key}' as message_id, 'u1' as user_id, "
        f"{'null' if name is None else repr(name)}::varchar as event, "
        f"'{json.dumps(properties)}'::json as properties, timestamp '2026-01-02 03:04:05' as timestamp"
        for key, name, properties in events
    ]
    return " union all ".join(made)


def meta(**options: Any) -> dict[str, Any]:
    common = {"to": "crm", "mode": "events", "event_column": "event", "timestamp": "timestamp"}
    return {"key": "message_id", "sync": [{**common, "identifiers": {"id": "user_id"}, **options}]}


def tracked(sandbox: SandboxClient) -> list[tuple[str, dict[str, Any]]]:
    """Name and properties of every event that is held, in order of their names."""
    held = httpx.get(f"{sandbox.url}/_/members/crm").json()["events"]
    return sorted(((each["event"], each["properties"]) for each in held), key=lambda each: each[0])


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("properties.category", "Drinks"),
        ("properties.missing.deeper", None),
        ('properties."category"', "Drinks"),
        ("event", "Product Viewed"),
        ({"from": ["properties.sku", "properties.product_id"]}, "p1"),
        ({"from": "properties.price", "times": 100, "type": "integer"}, 750),
        ({"from": "properties.price", "times": 0.01}, 0.075),
        ({"from": "properties.name", "times": 100}, "Tea"),
        ({"from": "properties.currency", "case": "lower"}, "eur"),
        ({"from": "properties.gone", "default": "USD"}, "USD"),
        ({"from": "properties.price", "type": "string"}, "7.5"),
        ({"each": "properties", "fields": {"id": "product_id"}}, [{"id": "p1"}]),
        ({"each": "properties.gone", "fields": {"id": "product_id"}}, None),
        (
            {"each": "properties", "fields": {"what": "$.event", "id": "product_id"}},
            [{"what": "Product Viewed", "id": "p1"}],
        ),
    ],
    ids=str,
)
def test_a_field_of_an_event(rule: Any, value: Any) -> None:
    row = {"event": "Product Viewed", "properties": json.dumps(VIEW)}
    made = EventRule.model_validate({"fields": {"it": rule}}).made(row, {})
    assert made == ({} if value is None else {"it": value})
    assert type(made.get("it")) is type(value)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"default": 1}, "from: PATH, or each: PATH"),
        ({"each": "properties.products"}, "each: PATH and fields: require each other"),
        ({"from": "properties..price"}, "'properties..price' is not a valid path"),
        ({"from": "properties.price", "unit": "cents"}, "unit"),
    ],
    ids=str,
)
def test_an_invalid_rule_is_an_error(rule: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        FieldRule.model_validate(rule)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("snake_case", "order_completed_v2"),
        ("camelCase", "orderCompletedV2"),
        ("PascalCase", "OrderCompletedV2"),
        ("Title Case", "Order Completed V2"),
        ("lower case", "order completed v2"),
        (None, "Order Completed v2"),
    ],
)
def test_names_in_a_case(case: Any, name: str) -> None:
    assert cased("Order Completed v2", case) == name
    assert cased("HTTPServer", "snake_case") == "http_server"
    assert cased("orderID", "snake_case") == "order_id"
    assert cased("日本語", "snake_case") == "日本語"


MUG = {"name": 'A "mug"', "price": 10, "quantity": 2}
TEA = {"name": "Tea", "price": 7.5, "quantity": 1}
SUM = {"currency": "USD", "value": 27.5}


def as_items(*products: dict[str, Any]) -> list[dict[str, Any]]:
    """Products as GA4 calls what is in them."""
    return [{f"item_{name}" if name == "name" else name: each[name] for name in each} for each in products]


STANDARD: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "google_analytics order": (
        "Order Completed",
        ORDER,
        "purchase",
        {
            **SUM,
            "transaction_id": "o-1",
            "items": as_items(
                {"item_id": "7", "item_category": "Kitchen", **MUG},
                {"item_id": "S9", "item_brand": "Ünïcode", **TEA},
            ),
        },
    ),
    "google_analytics view": (
        "Product Viewed",
        VIEW,
        "view_item",
        {
            "currency": "EUR",
            "value": 7.5,
            "items": as_items({"item_id": "p1", "item_category": "Drinks", **TEA}),
        },
    ),
    "amplitude order": (
        "Order Completed",
        {"order_id": "o-1", "total": 3, "currency": "eur"},
        "Order Completed",
        {
            "$revenue": 3,
            "$currency": "EUR",
            "$revenueType": "purchase",
            "order_id": "o-1",
            "total": 3,
            "currency": "eur",
        },
    ),
    "braze order": (
        "Order Completed",
        ORDER,
        "Order Completed",
        {
            **ORDER,
            "purchases": [
                {"product_id": "7", "currency": "USD", "category": "Kitchen", "order_id": "o-1", **MUG},
                {"product_id": "S9", "currency": "USD", "brand": "Ünïcode", "order_id": "o-1", **TEA},
            ],
        },
    ),
    "facebook_conversions order": (
        "Order Completed",
        ORDER,
        "Purchase",
        {
            **SUM,
            "content_type": "product",
            "order_id": "o-1",
            "contents": [
                {"id": "7", "quantity": 2, "item_price": 10},
                {"id": "S9", "quantity": 1, "item_price": 7.5},
            ],
        },
    ),
    "google_conversions order": (
        "Order Completed",
        ORDER,
        "Order Completed",
        {
            "transactionId": "o-1",
            "conversionValue": 27.5,
            "currency": "USD",
            "items": [
                {"merchantProductId": "7", "itemId": "7", "quantity": 2, "unitPrice": 10},
                {"merchantProductId": "S9", "itemId": "S9", "quantity": 1, "unitPrice": 7.5},
            ],
        },
    ),
    "google_conversions refund": (
        "Order Refunded",
        {"order_id": "o-1", "total": 27.5},
        "Order Refunded",
        {"transactionId": "o-1", "adjustment": "retraction"},
    ),
    "mixpanel order": ("Order Completed", ORDER, "Order Completed", ORDER),
}


@pytest.mark.parametrize("name", STANDARD)
def test_standard_events(name: str) -> None:
    event, properties, called, fields = STANDARD[name]
    sync = SyncConfig.model_validate({"to": "x", "mode": "events", "event_column": "event"})
    events = event_mapping_of(sync, name.split()[0])
    assert events is not None
    assert events.made({"event": event, "properties": json.dumps(properties)}, {}) == (called, fields)
    # The same by its name in snake_case, and where the model has columns in the place of properties.
    snake = event_mapping_of(sync.model_copy(update={"casing": Casing(events="Title Case")}), name.split()[0])
    assert snake is not None
    named = {"event": cased(event, "snake_case"), "properties": properties}
    assert snake.made(named, {}) == (called, fields)
    assert events.made({"event": event}, properties) == (called, fields)


@pytest.mark.parametrize(
    "kind", ["google_analytics", "facebook_conversions", "google_conversions", "amplitude", "braze"]
)
def test_standard_events_can_be_left_out_and_changed(kind: str) -> None:
    about = {"to": "x", "mode": "events", "event_column": "event"}
    row = {"event": "Order Completed", "properties": {"n": 1}}
    as_is = event_mapping_of(SyncConfig.model_validate({**about, "standard_events": False}), kind)
    own = event_mapping_of(
        SyncConfig.model_validate({**about, "events": {"Order Completed": {"event": "sale"}}}), kind
    )
    assert as_is is not None
    assert own is not None
    assert as_is.made(row, {}) == ("Order Completed", {"n": 1})
    assert own.made(row, {}) == ("sale", {})
    assert standard_events(kind)


def test_each_event_by_its_rule(project: ProjectFolder, sandbox: SandboxClient) -> None:
    rules = {
        "Product Viewed": {
            "fields": {
                "action": "event",
                "category": "properties.category",
                "label": "properties.name",
                "value": "properties.price",
            }
        },
        "Order Completed": {
            "event": "sale",
            "fields": {
                "lines": {"each": "properties.products", "fields": {"id": {"from": ["product_id", "sku"]}}}
            },
            "constants": {"channel": "web"},
            "all_properties": True,
        },
    }
    events = rows(
        ("m1", "Product Viewed", VIEW),
        ("m2", "Order Completed", ORDER),
        ("m3", "Signed Up", {"planName": "x"}),
    )
    project.audience(
        "seen", events, meta(events=rules, casing={"events": "snake_case", "fields": "snake_case"})
    )
    run = synced(project, "seen")
    assert run.delivered["add"] == 3, run.error
    assert tracked(sandbox) == [
        ("product_viewed", {"action": "Product Viewed", "category": "Drinks", "label": "Tea", "value": 7.5}),
        ("sale", {**ORDER, "channel": "web", "lines": [{"id": 7}, {"id": "S9"}]}),
        ("signed_up", {"plan_name": "x"}),
    ]
    # Each happened once, whatever is run again.
    assert sum(synced(project, "seen").planned.values()) == 0


def test_other_events_are_skipped_with_other_events_skip(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    events = rows(("m1", "product_viewed", VIEW), ("m2", "Signed Up", {}), ("m3", None, {}))
    rules = {"Product Viewed": {"fields": {"name": "properties.name"}}}
    project.audience("seen", events, meta(events=rules, other_events="skip"))
    run = synced(project, "seen")
    assert (run.delivered["add"], run.left_out_rows) == (1, 2)
    assert tracked(sandbox) == [("product_viewed", {"name": "Tea"})]


def test_an_event_without_a_name_is_rejected_and_kept(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("seen", rows(("m1", None, {}), ("m2", "Signed Up", {"a": 1})), meta())
    run = synced(project, "seen")
    assert (run.delivered["add"], run.rejected["add"], run.exit_code) == (1, 1, 1)
    ((reason,),) = project.sql("select reason from revetl.revetl.sync_rejections")
    assert reason == "its column 'event' has no event name"


def test_fields_go_with_every_event(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sync = meta(
        fields={"who": "user_id", "upper_name": "upper(properties.name)", "price": "properties.price"}
    )
    project.audience("seen", rows(("m1", "Product Viewed", VIEW)), sync)
    synced(project, "seen")
    assert tracked(sandbox) == [("Product Viewed", {"who": "u1", "upper_name": "TEA", "price": 7.5})]


def test_fields_of_members_can_be_paths(project: ProjectFolder, sandbox: SandboxClient) -> None:
    query = (
        """select 'u1' as user_id, '{"plan": {"name": "pro", "seats": 5}, "tags": ["a"]}'::json as traits"""
    )
    fields = {
        "plan": "traits.plan.name",
        "seats": "traits.plan.seats",
        "tags": "traits.tags",
        "gone": "traits.no",
    }
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm", "fields": fields}]})
    synced(project)
    assert sandbox.members("crm", "vips")["u1"] == {"plan": "pro", "seats": 5, "tags": ["a"], "gone": None}
    # Only what is mapped is compared.
    project.audience("vips", query.replace('"tags"', '"new": 1, "tags"'))
    assert sum(synced(project).planned.values()) == 0


def test_people_are_hidden_in_properties(project: ProjectFolder, sandbox: SandboxClient) -> None:
    (project.root / "transformations.yaml").write_text(
        "pii:\n  - {match: email, action: drop, at: crm}\n  - {match: phone, action: mask, at: crm}\n"
    )
    properties = {"email": "ada@example.com", "phone": "+44 20 7946 0958", "plan": "pro"}
    project.audience("seen", rows(("m1", "Signed Up", properties)), meta())
    synced(project, "seen")
    assert tracked(sandbox) == [("Signed Up", {"phone": "***58", "plan": "pro"})]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"event_column": "evnt"}, "the model has no column 'evnt'. Did you mean 'event'?"),
        ({"events": {"A": {"fields": {"x": "propertis.a"}}}}, "the model has no column 'propertis'"),
        ({"event": "A"}, "event: and event_column: both name the event"),
        ({"message_type": "pge"}, "message_type: the model has no column 'pge'"),
        ({"event_column": None, "event": "A", "message_type": "page"}, "message_type: requires event_column"),
        ({"events": {"$page": {"event_template": "Viewed {a..b}"}}}, "'a..b' is not a valid path"),
        ({"event_column": None, "event": "A", "events": {"A": {}}}, "events: requires event_column:"),
        ({"event_column": None}, "event_column: COLUMN"),
        ({"events": {"A": {"fields": {"x": "a..b"}}}}, "'a..b' is not a valid path"),
    ],
    ids=str,
)
def test_an_invalid_event_mapping_is_an_error(
    project: ProjectFolder, options: dict[str, Any], sentence: str
) -> None:
    project.audience("seen", rows(("m1", "A", {})), meta(**options))
    with pytest.raises(UsageError) as error:
        synced(project, "seen")
    assert sentence in str(error.value)


def test_a_plan_shows_the_events_as_they_are_sent(project: ProjectFolder, cli: Cli) -> None:
    project.audience(
        "seen", rows(("m1", "Order Completed", ORDER)), meta(events={"Order Completed": {"event": "sale"}})
    )
    done = cli(project, "plan", "audience", "seen", "-o", "json")
    (plan,) = json.loads(done.stdout)
    (request,) = plan["preview"]["requests"]
    assert request["body"]["records"][0]["event"] == "sale"
