"""Names of tables and columns in Segment's warehouses, mapped to the package's."""

from __future__ import annotations

import re
from dataclasses import dataclass

STAGING = "stg_revetl__"
"""The prefix of the package's staging models."""

IDENTITIES = ("user_id", "anonymous_id")
"""The columns of a message that identify its person."""

_COMMON = {
    "id": "message_id",
    "message_id": "message_id",
    "user_id": "user_id",
    "anonymous_id": "anonymous_id",
    "timestamp": "timestamp",
    "original_timestamp": "original_timestamp",
    "sent_at": "sent_at",
    "received_at": "received_at",
    "loaded_at": "loaded_at",
    "uuid_ts": "loaded_at",
    "context": "context",
}
MOMENTS = frozenset({"timestamp", "original_timestamp", "sent_at", "received_at", "loaded_at"})


@dataclass(frozen=True)
class Messages:
    """A table of messages: its staging model, its `source` in revetl_events, its own columns, the document
    that Segment's warehouses flatten into columns, and whether they do so in this table."""

    model: str
    source: str
    own: tuple[str, ...]
    document: str | None
    is_flat: bool

    @property
    def alias(self) -> str:
        """Return the alias of the staging model in SQL."""
        return self.model.removeprefix(STAGING)

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns by their names in Segment's warehouses."""
        documents = (self.document,) if self.document else ()
        return {**_COMMON, **{name: name for name in (*self.own, *documents)}}


MESSAGES = {
    "tracks": Messages("stg_revetl__tracks", "track", ("event", "event_text"), "properties", False),
    "identifies": Messages("stg_revetl__identifies", "identify", (), "traits", True),
    "pages": Messages("stg_revetl__pages", "page", ("name", "category"), "properties", True),
    "screens": Messages("stg_revetl__screens", "screen", ("name", "category"), "properties", True),
    "groups": Messages("stg_revetl__groups", "group", ("group_id",), "traits", True),
    "aliases": Messages("stg_revetl__aliases", "alias", ("previous_id",), None, False),
}
EVENT = Messages("stg_revetl__tracks", "track", ("event", "event_text"), "properties", True)
"""The table of a single event."""

SPEC_EVENTS = [
    "Products Searched",
    "Product List Viewed",
    "Product List Filtered",
    "Promotion Viewed",
    "Promotion Clicked",
    "Product Clicked",
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Checkout Started",
    "Checkout Step Viewed",
    "Checkout Step Completed",
    "Payment Info Entered",
    "Order Updated",
    "Order Completed",
    "Order Refunded",
    "Order Cancelled",
    "Coupon Entered",
    "Coupon Applied",
    "Coupon Denied",
    "Coupon Removed",
    "Product Added to Wishlist",
    "Product Removed from Wishlist",
    "Wishlist Product Added to Cart",
    "Product Shared",
    "Cart Shared",
    "Product Reviewed",
    "Application Installed",
    "Application Opened",
    "Application Updated",
    "Application Backgrounded",
    "Application Crashed",
    "Application Uninstalled",
    "Push Notification Received",
    "Push Notification Tapped",
    "Push Notification Bounced",
    "Install Attributed",
    "Deep Link Opened",
    "Deep Link Clicked",
    "Email Delivered",
    "Email Opened",
    "Email Link Clicked",
    "Email Bounced",
    "Email Marked as Spam",
    "Unsubscribed",
    "Signed Up",
    "Signed In",
    "Signed Out",
    "Account Created",
    "Account Deleted",
    "Trial Started",
    "Trial Ended",
    "Experiment Viewed",
    "Live Chat Conversation Started",
    "Live Chat Conversation Ended",
]
"""The events defined in Segment's spec."""

# Objects in a message's context, whose members are columns context_OBJECT_MEMBER in Segment's warehouses.
_OBJECTS = (
    "active",
    "app",
    "campaign",
    "device",
    "library",
    "location",
    "network",
    "os",
    "page",
    "referrer",
    "screen",
    "traits",
)
_CAMEL = {
    "user_agent": "userAgent",
    "group_id": "groupId",
    "advertising_id": "advertisingId",
    "ad_tracking_enabled": "adTrackingEnabled",
    "inner_width": "innerWidth",
    "inner_height": "innerHeight",
}


def snake_case(name: str) -> str:
    """Return an event's name as in Segment's warehouses and in `revetl load`: `Order Completed` and
    `orderCompleted` become `order_completed`."""
    humps = re.sub("([a-z0-9])([A-Z])", r"\1_\2", name.strip())
    return re.sub("[^a-z0-9]+", "_", humps.lower()).strip("_")


def context_path(column: str) -> tuple[str, ...]:
    """Return the path in `context` of a column such as `context_campaign_name`."""
    rest = column.removeprefix("context_")
    for name in _OBJECTS:
        if rest.startswith(f"{name}_"):
            member = rest.removeprefix(f"{name}_")
            # Members of context.traits keep the sender's names.
            return (name, member if name == "traits" else _CAMEL.get(member, member))
    return (_CAMEL.get(rest, rest),)
