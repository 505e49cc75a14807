"""The mock APIs: what each accepts, its limits and its errors, as described in docs/destinations/.

A destination is mocked at `/NAME`, or at `/NAME.ANYTHING` for a second instance of it.
"""

from __future__ import annotations

from importlib import import_module

from revetl.sandbox.apis.base import Api, ApiRequest

PLAYED: dict[str, str] = {
    "amplitude": "AmplitudeApi",
    "census": "CensusApi",
    "close": "CloseApi",
    "copper": "CopperApi",
    "customer_io": "CustomerIoApi",
    "facebook_ads": "FacebookAdsApi",
    "facebook_conversions": "FacebookConversionsApi",
    "fullstory": "FullStoryApi",
    "google_ads": "GoogleAdsApi",
    "google_analytics": "GoogleAnalyticsApi",
    "google_conversions": "GoogleConversionsApi",
    "heap": "HeapApi",
    "hightouch": "HightouchApi",
    "hubspot": "HubSpotApi",
    "intercom": "IntercomApi",
    "iterable": "IterableApi",
    "linkedin_ads": "LinkedinAdsApi",
    "mailchimp": "MailchimpApi",
    "marketo": "MarketoApi",
    "mixpanel": "MixpanelApi",
    "pendo": "PendoApi",
    "pipedrive": "PipedriveApi",
    "polytomic": "PolytomicApi",
    "salesforce": "SalesforceApi",
    "sendgrid": "SendGridApi",
    "snap_ads": "SnapAdsApi",
    "tiktok_ads": "TikTokAdsApi",
    "twitter_ads": "TwitterAdsApi",
}
"""Module name to class name, for APIs selected by the name of the destination."""


def api_of(destination: str, sent: ApiRequest, secret: str | None) -> Api | None:
    """Return the API that a request addresses: by the destination's name, else by its path. None if there is
    none. `secret` is a webhook's secret."""
    kind = destination.partition(".")[0]
    if kind in PLAYED:
        made: Api = getattr(import_module(f"revetl.sandbox.apis.{kind}"), PLAYED[kind])()
        return made
    match sent.method, sent.path:
        case "POST", "/v1/batch" | "/regulations":
            from revetl.sandbox.apis.segment import SegmentApi

            return SegmentApi()
        case ("POST", "/users/track" | "/users/delete" | "/v2/subscription/status/set") | (
            "GET",
            "/subscription/status/get",
        ):
            from revetl.sandbox.apis.braze import BrazeApi

            return BrazeApi()
        case method, "" | "/":
            from revetl.sandbox.apis.webhook import WebhookApi, WebhookReadApi

            return WebhookReadApi(secret) if method == "GET" else WebhookApi(secret)
    return None
