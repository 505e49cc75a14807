"""Maps other tools' names of destinations and modes to revetl's."""

from __future__ import annotations

import re

TYPES = {
    "amplitude": "amplitude",
    "amplitudecohorts": "amplitude",
    "braze": "braze",
    "brazecohorts": "braze",
    "close": "close",
    "closecom": "close",
    "closeio": "close",
    "copper": "copper",
    "customerio": "customer_io",
    "facebook": "facebook_ads",
    "facebookads": "facebook_ads",
    "facebookcustomaudiences": "facebook_ads",
    "fbcustomaudience": "facebook_ads",
    "metaads": "facebook_ads",
    "googleads": "google_ads",
    "googleadscustomermatch": "google_ads",
    "googleanalytics": "google_analytics",
    "googleanalytics4": "google_analytics",
    "ga4": "google_analytics",
    "http": "webhook",
    "httprequest": "webhook",
    "hubspot": "hubspot",
    "intercom": "intercom",
    "iterable": "iterable",
    "linkedin": "linkedin_ads",
    "linkedinads": "linkedin_ads",
    "mailchimp": "mailchimp",
    "marketo": "marketo",
    "mixpanel": "mixpanel",
    "mixpanelcohorts": "mixpanel",
    "pipedrive": "pipedrive",
    "salesforce": "salesforce",
    "salesforcesandbox": "salesforce",
    "segment": "segment",
    "sendgrid": "sendgrid",
    "snap": "snap_ads",
    "snapchat": "snap_ads",
    "snapchatads": "snap_ads",
    "tiktok": "tiktok_ads",
    "tiktokads": "tiktok_ads",
    "tiktokaudience": "tiktok_ads",
    "twitter": "twitter_ads",
    "twitterads": "twitter_ads",
    "xads": "twitter_ads",
    "webhook": "webhook",
}
"""Other tools' destination types, letters and digits only, to revetl's."""

MODES = {
    "upsert": "upsert",
    "upserts": "upsert",
    "updateorcreate": "upsert",
    "update": "update",
    "insert": "insert",
    "create": "insert",
    "mirror": "mirror",
    "archive": "mirror",
    "segment": "mirror",
    "audience": "mirror",
    "cohort": "mirror",
    "list": "mirror",
    "add": "mirror",
    "all": "upsert",
    "replace": "mirror",
    "events": "events",
    "delete": "delete",
}
"""Other tools' modes, letters only, to revetl's."""

EXACT = frozenset(
    {"upsert", "update", "insert", "mirror", "delete", "events", "segment", "audience", "create"}
)
"""Other tools' modes with exactly the same meaning."""

OBJECTS = {"hubspot": "object_type", "salesforce": "object"}
"""The configuration key for the synced object, if a destination has one."""

LOOKUPS = {
    "close": "lookup_field",
    "copper": "lookup_field",
    "hubspot": "id_property",
    "marketo": "lookup_field",
    "pipedrive": "lookup_field",
    "salesforce": "external_id_field",
}
"""The configuration key for the lookup field, if it is configurable."""

ALSO = {
    "google_ads": ("developer_token", "client_id", "client_secret", "refresh_token"),
    "google_analytics": ("measurement_id",),
    "linkedin_ads": ("access_token",),
    "mailchimp": ("api_key",),
    "pipedrive": ("api_token",),
    "salesforce": ("access_token",),
    "snap_ads": ("access_token",),
}
"""Keys needed besides the required ones: one of several ways to authenticate."""


def letters(text: str) -> str:
    """Return only the letters and digits, in lowercase."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def type_of(kind: str | None, name: str) -> tuple[str | None, bool]:
    """Return revetl's type for another tool's type, or a guess from the destination's name if there is none;
    and whether it was guessed."""
    if kind is not None:
        return TYPES.get(letters(kind)), False
    plain = letters(name)
    for theirs in sorted(TYPES, key=len, reverse=True):
        if len(theirs) > 4 and theirs in plain:
            return TYPES[theirs], True
    return None, True
