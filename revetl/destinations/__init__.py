"""The destinations, by the name `type:` has in `revetl.yml`. A connector is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from revetl.checking import check
from revetl.destinations.base import Destination
from revetl.errors import UsageError, nearest

TYPES = {
    "amplitude": "Amplitude",
    "braze": "Braze",
    "census": "Census",
    "close": "Close",
    "copper": "Copper",
    "customer_io": "CustomerIo",
    "facebook_ads": "FacebookAds",
    "facebook_conversions": "FacebookConversions",
    "file": "File",
    "fullstory": "FullStory",
    "google_ads": "GoogleAds",
    "google_analytics": "GoogleAnalytics",
    "google_conversions": "GoogleConversions",
    "heap": "Heap",
    "hightouch": "Hightouch",
    "hubspot": "HubSpot",
    "intercom": "Intercom",
    "iterable": "IterableProject",
    "linkedin_ads": "LinkedinAds",
    "mailchimp": "Mailchimp",
    "marketo": "Marketo",
    "mixpanel": "Mixpanel",
    "pendo": "Pendo",
    "pipedrive": "Pipedrive",
    "polytomic": "Polytomic",
    "salesforce": "Salesforce",
    "segment": "Segment",
    "sendgrid": "SendGrid",
    "snap_ads": "SnapAds",
    "sql": "Sql",
    "tiktok_ads": "TikTokAds",
    "twitter_ads": "TwitterAds",
    "webhook": "Webhook",
}
"""Module name to class name."""


def destination_class(kind: object, place: str) -> type[Destination]:
    """The class of a destination type. Raises UsageError with the nearest type there is."""
    if not isinstance(kind, str) or kind not in TYPES:
        sentence = "type is missing" if kind is None else f"type: there is no destination type '{kind}'"
        raise UsageError(f"{place}.{sentence}. {nearest(str(kind), TYPES)}")
    found: type[Destination] = getattr(import_module(f"revetl.destinations.{kind}"), TYPES[kind])
    return found


def make_destination(config: dict[str, Any], place: str) -> Destination:
    """A destination of its rendered configuration. Raises UsageError naming `place` and the key."""
    from revetl.destinations.hygiene import check_sendable

    made = check(destination_class(config.get("type"), place), config, place)
    check_sendable(made, place)
    return made
