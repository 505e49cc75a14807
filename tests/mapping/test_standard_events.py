"""What the page, screen and e-commerce events of Segment's spec become in each tool that has its own."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revetl.config.events import cased, folded, respelled
from revetl.config.models import SyncConfig
from revetl.mapping.events import EventMapping, event_mapping_of
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.mapping.test_event_mapping import meta, tracked
from tests.sync.test_sync import synced

KINDS = ("google_analytics", "mixpanel", "amplitude", "braze", "facebook_conversions")
WHERE = {"title": "Mouse | Shop", "url": "https://shop.example/mouse", "referrer": "https://shop.example/"}
VIEW = {**WHERE, "product_id": "prod_12345", "price": 299.99}


def mapping(kind: str, **options: Any) -> EventMapping:
    sync = {"to": "x", "mode": "events", "event_column": "name", **options}
    made = event_mapping_of(SyncConfig.model_validate(sync), kind)
    assert made is not None
    return made


PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "google_analytics page": (
        "page_view",
        {
            "page_title": "Mouse | Shop",
            "page_location": WHERE["url"],
            "page_referrer": WHERE["referrer"],
            "product_id": "prod_12345",
            "price": 299.99,
        },
    ),
    "google_analytics screen": ("screen_view", {"screen_name": "Product Details", **VIEW}),
    "mixpanel page": (
        "Viewed Product Details",
        {**VIEW, "$current_url": WHERE["url"], "$referrer": WHERE["referrer"]},
    ),
    "mixpanel screen": ("Viewed Product Details", VIEW),
    "amplitude page": ("Viewed Product Details", VIEW),
    "amplitude screen": ("Viewed Product Details", VIEW),
    "braze page": ("Viewed Product Product Details Page", VIEW),
    "braze screen": ("Viewed Product Product Details Screen", VIEW),
    "facebook_conversions page": (
        "PageView",
        {"event_source_url": WHERE["url"], "referrer_url": WHERE["referrer"]},
    ),
    "facebook_conversions screen": ("Viewed Product Product Details Screen", {}),
    "webhook page": ("Product Details", VIEW),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_or_screen_is_what_the_destination_has_for_it(name: str) -> None:
    kind, call = name.split()
    row = {"name": "Product Details", "category": "Product", "properties": json.dumps(VIEW)}
    assert mapping(kind, message_type=call).made(row, {}) == PAGES[name]
    # The same where a column of the model says it, and where the properties are columns of the model.
    assert mapping(kind).made({**row, "message_type": call.upper()}, {}) == PAGES[name]
    assert mapping(kind, message_type="type").made({**row, "type": call}, {}) == PAGES[name]
    flat = {"name": "Product Details", "category": "Product"}
    assert mapping(kind, message_type=call).made(flat, VIEW) == PAGES[name]


@pytest.mark.parametrize("kind", [*KINDS, "webhook", "segment"])
@pytest.mark.parametrize("call", ["page", "screen"])
def test_a_page_or_screen_without_a_name_has_one_there(kind: str, call: str) -> None:
    name, _ = mapping(kind, message_type=call).made({"name": None, "properties": "{}"}, {})
    own = {"google_analytics": f"{call}_view", "facebook_conversions": "PageView" if call == "page" else None}
    assert name == (own.get(kind) or f"Loaded a {call.title()}")


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_page_was_may_be_in_its_context(kind: str) -> None:
    row = {"name": "Home", "properties": "{}", "context": json.dumps({"page": WHERE})}
    events = mapping(kind, message_type="page")
    _, fields = events.made(row, {})
    told = {
        "google_analytics": {
            "page_title": WHERE["title"],
            "page_location": WHERE["url"],
            "page_referrer": WHERE["referrer"],
        },
        "mixpanel": {"$current_url": WHERE["url"], "$referrer": WHERE["referrer"]},
        "facebook_conversions": {"event_source_url": WHERE["url"], "referrer_url": WHERE["referrer"]},
    }
    assert fields == told.get(kind, {})
    # Models that have no context are read without, and so are those that have no pages.
    assert "context" not in events.named(["name", "properties"])
    assert "context" not in mapping(kind).named(["name", "properties", "context"])


def test_a_page_has_the_rule_that_the_sync_has_for_it() -> None:
    own = {"Home": {"event": "home_seen"}, "$page": {"event": "seen", "fields": {"at": "properties.path"}}}
    events = mapping("google_analytics", message_type="page", events=own)
    assert events.made({"name": "home", "properties": {"path": "/"}}, {}) == ("home_seen", {})
    assert events.made({"name": "Order Completed", "properties": {"path": "/"}}, {}) == ("seen", {"at": "/"})
    as_is = mapping("google_analytics", message_type="page", standard_events=False)
    assert as_is.made({"name": "Home", "properties": {"a": 1}}, {}) == ("Home", {"a": 1})
    assert as_is.made({"name": None, "properties": {"a": 1}}, {}) == (None, {})


OWN = {
    "Products Searched": ("search", "Search"),
    "Product List Viewed": ("view_item_list", "ViewContent"),
    "Product List Filtered": ("view_item_list", "ViewContent"),
    "Promotion Viewed": ("view_promotion", None),
    "Promotion Clicked": ("select_promotion", None),
    "Product Clicked": ("select_item", None),
    "Product Viewed": ("view_item", "ViewContent"),
    "Product Added": ("add_to_cart", "AddToCart"),
    "Product Removed": ("remove_from_cart", None),
    "Cart Viewed": ("view_cart", None),
    "Checkout Started": ("begin_checkout", "InitiateCheckout"),
    "Checkout Step Viewed": (None, None),
    "Checkout Step Completed": (None, None),
    "Payment Info Entered": ("add_payment_info", "AddPaymentInfo"),
    "Order Updated": (None, None),
    "Order Completed": ("purchase", "Purchase"),
    "Order Refunded": ("refund", None),
    "Order Cancelled": (None, None),
    "Coupon Entered": (None, None),
    "Coupon Applied": (None, None),
    "Coupon Denied": (None, None),
    "Coupon Removed": (None, None),
    "Product Added to Wishlist": ("add_to_wishlist", "AddToWishlist"),
    "Product Removed from Wishlist": (None, None),
    "Wishlist Product Added to Cart": ("add_to_cart", "AddToCart"),
    "Product Shared": ("share", None),
    "Cart Shared": ("share", None),
    "Product Reviewed": (None, None),
}
"""The e-commerce events of the spec, and what Google and Meta call those that they have."""


@pytest.mark.parametrize("event", OWN)
def test_every_e_commerce_event_has_the_name_of_each_tool_and_keeps_its_product(event: str) -> None:
    product = {"productId": "p1", "product_name": "Mug", "category": "Kitchen", "price": 5, "quantity": 2}
    properties = {**product, "products": [product], "orderId": 7, "currency": "eur", "revenue": 10}
    google, meta_name = OWN[event]
    named = {"google_analytics": google, "facebook_conversions": meta_name}
    for kind in KINDS:
        for spelling in (event, cased(event, "snake_case"), cased(event, "camelCase")):
            name, fields = mapping(kind).made({"name": spelling, "properties": properties}, {})
            assert name == (named.get(kind) or spelling)
            assert "Mug" in json.dumps(fields) or event in WITHOUT_PRODUCT or kind == "facebook_conversions"
            assert "p1" in json.dumps(fields) or event in WITHOUT_PRODUCT


WITHOUT_PRODUCT = (
    "Products Searched",
    "Promotion Viewed",
    "Promotion Clicked",
    "Product Shared",
    "Cart Shared",
)

SPELLINGS = [
    {"product_id": "p1", "product_name": "Mug", "category": "Kitchen"},
    {"productId": "p1", "productName": "Mug", "productCategory": "Kitchen"},
    {"sku": "p1", "name": "Mug", "Category": "Kitchen"},
    {"SKU": "p1", "Product Name": "Mug", "product_category": "Kitchen"},
    {"Product ID": "p1", "title": "Mug", "itemCategory": "Kitchen"},
    {"id": "p1", "item_name": "Mug", "item_category": "Kitchen"},
]


@pytest.mark.parametrize("product", SPELLINGS, ids=str)
def test_a_product_is_known_in_the_common_spellings(product: dict[str, Any]) -> None:
    one = {"name": "Product Added", "properties": product}
    item = {"item_id": "p1", "item_name": "Mug", "item_category": "Kitchen", "quantity": 1}
    assert mapping("google_analytics").made(one, {}) == ("add_to_cart", {"items": [item]})
    _, meta_fields = mapping("facebook_conversions").made(one, {})
    assert meta_fields == {
        "content_name": "Mug",
        "content_category": "Kitchen",
        "content_type": "product",
        "contents": [{"id": "p1", "quantity": 1}],
    }
    for listed in ("products", "items", "lineItems"):
        order = {
            "name": "orderCompleted",
            "properties": {"orderId": "o1", "currency": "usd", listed: [product]},
        }
        _, fields = mapping("google_analytics").made(order, {})
        assert fields == {"transaction_id": "o1", "currency": "USD", "items": [item]}
        _, bought = mapping("braze").made(order, {})
        (purchase,) = bought["purchases"]
        assert purchase == {
            "product_id": "p1",
            "name": "Mug",
            "category": "Kitchen",
            "currency": "USD",
            "price": 0,
            "quantity": 1,
            "order_id": "o1",
        }


def test_an_order_without_products_keeps_its_properties_in_braze() -> None:
    order = {"order_id": "o1", "revenue": 5}
    assert mapping("braze").made({"name": "Order Completed", "properties": order}, {}) == (
        "Order Completed",
        order,
    )


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.integers() | st.lists(st.dictionaries(st.text(max_size=4), st.none())),
        max_size=6,
    )
)
def test_a_respelled_document_keeps_what_is_spelled_so_already(document: dict[str, Any]) -> None:
    made = respelled(document)
    assert respelled(made) == made
    assert made.keys() == {folded(name) for name in document}
    assert all(made[name] == respelled(value) for name, value in document.items() if folded(name) == name)


def test_the_call_is_that_of_the_staging_model_that_an_audience_selects_from(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    query = (
        "select 'm1' as message_id, 'u1' as user_id, 'Product Details' as name, "
        f"'{json.dumps(VIEW)}'::json as properties, timestamp '2026-01-02 03:04:05' as timestamp union all "
        "select 'm2', 'u1', null, '{}'::json, timestamp '2026-01-02 03:04:06'"
    )
    project.audience("seen", query, meta(event_column="name"))
    project.depends("seen", "stg_revetl__pages")
    assert synced(project, "seen").delivered["add"] == 2
    assert tracked(sandbox) == [("Loaded a Page", {}), ("Product Details", VIEW)]
    ((only,),) = [
        [sync.config.message_type for sync in each.syncs] for each in project.open().workspace.audiences()
    ]
    assert only == "page"


def test_pages_are_no_other_events_where_a_sync_has_a_rule_for_them(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    calls = [
        ("m1", "page", None),
        ("m2", "screen", "Home"),
        ("m3", "track", "Signed Up"),
        ("m4", "track", "X"),
    ]
    query = " union all ".join(
        f"select '{key}' as message_id, 'u1' as user_id, '{call}' as message_type, "
        f"{'null' if name is None else repr(name)}::varchar as name, '{{}}'::json as properties, "
        "timestamp '2026-01-02 03:04:05' as timestamp"
        for key, call, name in calls
    )
    rules = {"$page": {"event": "seen"}, "Signed Up": {}}
    project.audience("seen", query, meta(event_column="name", events=rules, other_events="skip"))
    run = synced(project, "seen")
    assert (run.delivered["add"], run.left_out_rows) == (2, 2)
    assert tracked(sandbox) == [("Signed Up", {}), ("seen", {})]


NO_NUMBERS = ["NaN", "nan", "Infinity", "-inf", "1e999", "$12.00", "29,99", "", [1], {"a": 1}]


@pytest.mark.parametrize("kind", [*KINDS, "google_conversions"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_an_amount_that_is_no_number_goes_out_as_it_is(kind: str, value: object) -> None:
    item = {"product_id": "p1", "price": value, "quantity": value}
    for name in OWN:
        properties = {**item, "revenue": value, "products": [item], "position": value}
        made = mapping(kind).made({"name": name, "properties": json.dumps(properties)}, {})
        assert made == mapping(kind).made({"name": name, "properties": properties}, {})
        assert not {"Infinity", "NaN"} & {*json.dumps(made).replace('"NaN"', "").split()}


@pytest.mark.parametrize("kind", [*KINDS, "google_conversions"])
def test_an_amount_larger_than_64_bits_is_still_json(kind: str) -> None:
    item = {"product_id": "p1", "price": 1e308, "quantity": 1e300}
    for name in OWN:
        properties = {**item, "revenue": "1e300", "products": [item]}
        _, fields = mapping(kind).made({"name": name, "properties": properties}, {})
        assert orjson.loads(orjson.dumps(fields)) == fields


def test_a_blank_value_gives_way_to_one_in_another_spelling() -> None:
    item = {"product_id": " ", "sku": "WH-1", "name": "", "product_name": "Mug", "price": 2}
    order = {"order_id": "", "transaction_id": "o-1", "revenue": "", "total": "4", "products": []}
    row = {"name": "Order Completed", "properties": {**order, "line_items": [item]}}
    _, fields = mapping("google_analytics").made(row, {})
    assert (fields["transaction_id"], fields["value"]) == ("o-1", 4)
    assert fields["items"] == [{"item_id": "WH-1", "item_name": "Mug", "price": 2, "quantity": 1}]
    page = {"name": "Mug", "properties": {"title": ""}, "context": {"page": {"title": "Mug | Shop"}}}
    _, fields = mapping("google_analytics", message_type="page").made(page, {})
    assert fields["page_title"] == "Mug | Shop"
