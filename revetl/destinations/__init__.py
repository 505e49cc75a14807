"""Destinations by their `type:` in `revetl.yml`. A connector is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from revetl.config.base import check
from revetl.destinations.base.destination import Destination
from revetl.errors import UsageError, nearest

TYPES = {
    "amplitude": "amplitude.destination.Amplitude",
    "braze": "braze.destination.Braze",
    "census": "census.destination.Census",
    "close": "close.destination.Close",
    "copper": "copper.destination.Copper",
    "customer_io": "customer_io.destination.CustomerIo",
    "facebook_ads": "facebook.ads.FacebookAds",
    "facebook_conversions": "facebook.conversions.FacebookConversions",
    "file": "file.destination.File",
    "fullstory": "fullstory.destination.FullStory",
    "google_ads": "google.ads.GoogleAds",
    "google_analytics": "google.analytics.GoogleAnalytics",
    "google_conversions": "google.conversions.GoogleConversions",
    "heap": "heap.destination.Heap",
    "hightouch": "hightouch.destination.Hightouch",
    "hubspot": "hubspot.destination.HubSpot",
    "intercom": "intercom.destination.Intercom",
    "iterable": "iterable.destination.IterableProject",
    "linkedin_ads": "linkedin_ads.destination.LinkedinAds",
    "mailchimp": "mailchimp.destination.Mailchimp",
    "marketo": "marketo.destination.Marketo",
    "mixpanel": "mixpanel.destination.Mixpanel",
    "pendo": "pendo.destination.Pendo",
    "pipedrive": "pipedrive.destination.Pipedrive",
    "polytomic": "polytomic.destination.Polytomic",
    "salesforce": "salesforce.destination.Salesforce",
    "segment": "segment.destination.Segment",
    "sendgrid": "sendgrid.destination.SendGrid",
    "snap_ads": "snap_ads.destination.SnapAds",
    "sql": "sql.destination.Sql",
    "tiktok_ads": "tiktok_ads.destination.TikTokAds",
    "twitter_ads": "twitter_ads.destination.TwitterAds",
    "webhook": "webhook.destination.Webhook",
}
"""Maps `type:` to the path of its class within this package."""


def destination_class(kind: object, place: str) -> type[Destination]:
    """Return the class of a destination type. Raises UsageError suggesting the nearest known type."""
    if not isinstance(kind, str) or kind not in TYPES:
        sentence = "type is missing" if kind is None else f"type: unknown destination type '{kind}'"
        raise UsageError(f"{place}.{sentence}. {nearest(str(kind), TYPES)}")
    module, _, name = TYPES[kind].rpartition(".")
    found: type[Destination] = getattr(import_module(f"revetl.destinations.{module}"), name)
    return found


def make_destination(config: dict[str, Any], place: str) -> Destination:
    """Create a destination from its rendered configuration. Raises UsageError naming `place` and the key."""
    from revetl.destinations.base.hygiene import check_sendable

    made = check(destination_class(config.get("type"), place), config, place)
    check_sendable(made, place)
    return made
