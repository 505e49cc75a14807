"""Conversions in the event format of the Data Manager API: docs/destinations/google_conversions.md.

Event fields may be spelled as in Google's reference (`conversionValue`) or in its protocol buffers
(`conversion_value`). Some also have common property names (ALIASES).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC
from typing import Any

from revetl.config.amounts import finite, plain
from revetl.destinations.base.properties import is_nobody
from revetl.destinations.base.records import Record
from revetl.destinations.base.shapes import LEFT_OUT
from revetl.destinations.base.timestamps import moment_of

CLICKS = ("gclid", "gbraid", "wbraid")
"""Google accepts one of these per event: the first one present is sent."""
ADDRESS = ("givenName", "familyName", "regionCode", "postalCode")
SOURCES = ("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER")
CONSENTS = ("adUserData", "adPersonalization")
ALIASES = {
    "transactionId": ("order_id", "orderId"),
    "conversionValue": ("value", "revenue", "total"),
    "couponCodes": ("coupon",),
    "transactionDiscount": ("discount",),
}
"""Alternative property names, by field."""
CART = ("items", "couponCodes", "transactionDiscount", "merchantId", "merchantFeedLabel")
CART_FIELDS = (*CART, "merchantFeedLanguageCode")
ITEM = ("merchantProductId", "itemId", "quantity", "unitPrice", "conversionValue")
USER = {"customerType": ("NEW", "RETURNING", "REENGAGED"), "customerValueBucket": ("LOW", "MEDIUM", "HIGH")}
NUMBERS = ("conversionValue", "conversionCount", "transactionDiscount")
MOMENTS = ("lastUpdatedTimestamp",)
OBJECTS = ("eventDeviceInfo", "eventLocation")
ADJUSTMENT = "adjustment"
"""Not sent: tells how the event adjusts an earlier conversion."""
RETRACTION = (
    "Google's Data Manager API cannot retract a conversion. Retract it in Google Ads or with the Google Ads "
    "API (uploadConversionAdjustments), or restate its value (adjustment: restatement), although it then "
    "still counts"
)
FIELDS = frozenset(
    [
        *("transactionId", "currency", "eventSource", ADJUSTMENT),
        *(*CART_FIELDS, *CONSENTS, *USER, *NUMBERS, *MOMENTS, *OBJECTS),
    ]
)
_GRANTED, _DENIED = "CONSENT_GRANTED", "CONSENT_DENIED"
_CONSENT = {"granted": _GRANTED, "true": _GRANTED, "denied": _DENIED, "false": _DENIED}
_CURRENCY = re.compile("[A-Z]{3}")


def known(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields with a value, by Google's names, and the names unknown to Google."""
    given = {name: value for name, value in fields.items() if value is not None}
    found = {spelled: value for name, value in given.items() if (spelled := _spelled(name)) in FIELDS}
    others = [name for name in given if _spelled(name) not in FIELDS]
    for name, aliases in ALIASES.items():
        there = next((alias for alias in aliases if alias in others), None)
        if there is not None and name not in found:
            found[name] = given[there]
            others.remove(there)
    return found, others


def _spelled(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def fitted(record: Record, custom_variables: Collection[str]) -> tuple[Record, dict[str, str]]:
    """Return a record with the sendable fields, and how the others were changed."""
    found, others = known(record.fields)
    left = {name for name in others if name not in custom_variables or _is_nested(record.fields[name])}
    if "items" in found and _has_braid(record):
        # Google ignores the cart for these clicks, with a warning.
        left |= {name for name in record.fields if _spelled(name) in CART_FIELDS}
    if is_nobody(found.get("transactionId", "a value")):
        left |= {name for name in record.fields if name in ("transactionId", "transaction_id", "order_id")}
    fields = {name: value for name, value in record.fields.items() if name not in left}
    return record._replace(fields=fields), dict.fromkeys(sorted(left), LEFT_OUT)


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | Mapping)


def _has_braid(record: Record) -> bool:
    return "gclid" not in record.identifiers and bool({"gbraid", "wbraid"} & record.identifiers.keys())


def refused(record: Record, consent: Mapping[str, str]) -> str | None:
    """Explain why Google would reject a record's event, and with it the whole request; None if valid."""
    found, _ = known(record.fields)
    return next(_problems(record, found, consent), None)


def _problems(record: Record, found: Mapping[str, Any], consent: Mapping[str, str]) -> Iterator[str]:
    yield from _adjustment_problems(record, found)
    for name in NUMBERS:
        if name in found and number(found[name]) is None:
            yield f"{name} '{found[name]}' is not a number"
    currency = found.get("currency")
    if currency is not None and not _CURRENCY.fullmatch(str(currency).strip().upper()):
        yield f"currency '{currency}' is not a three-letter ISO 4217 code"
    for name, words in {**USER, "eventSource": SOURCES}.items():
        if name in found and str(found[name]).upper() not in words:
            yield f"{name} '{found[name]}' must be one of {', '.join(words)}"
    for name in MOMENTS:
        if name in found and rfc3339(found[name]) is None:
            yield f"{name} '{found[name]}' is not an ISO 8601 timestamp"
    for name in CONSENTS:
        if name in found and consent_of(found[name]) is None:
            yield f"{name} '{found[name]}' must be GRANTED or DENIED"
    if consents(found, consent).get("adUserData") == _DENIED:
        yield "adUserData is DENIED, so Google would not record the conversion and it is not sent"


def _adjustment_problems(record: Record, found: Mapping[str, Any]) -> Iterator[str]:
    kind = found.get(ADJUSTMENT)
    if kind is None:
        return
    if str(kind).lower() == "retraction":
        yield RETRACTION
    elif str(kind).lower() not in ("restatement", "enhancement"):
        yield f"adjustment '{kind}' must be restatement or enhancement"
    if is_nobody(found.get("transactionId", "")):
        yield f"an adjustment ({kind}) needs the transactionId of its conversion"
    if str(kind).lower() == "restatement" and "conversionValue" not in found:
        yield "an adjustment (restatement) needs the new conversionValue"
    if str(kind).lower() == "enhancement" and not user_identifiers(record):
        yield "an adjustment (enhancement) needs an email address, a phone number or a complete address"


def event_of(
    record: Record,
    *,
    event_id: str,
    at: str,
    source: str,
    consent: Mapping[str, str],
    cart: Mapping[str, str],
    custom_variables: Collection[str],
) -> dict[str, Any]:
    """Return an event. `event_id` is its transaction id and `at` its timestamp if it has none; `consent` and
    `cart` are the configured defaults."""
    found, _ = known(record.fields)
    order = found.get("transactionId")
    made: dict[str, Any] = {
        "transactionId": event_id if order is None or is_nobody(order) else str(order),
        "eventTimestamp": rfc3339(record.timestamp or at),
        "eventSource": str(found.get("eventSource", source)).upper(),
    }
    if moment := rfc3339(found.get("lastUpdatedTimestamp")):
        made["lastUpdatedTimestamp"] = moment
    if user := user_identifiers(record):
        made["userData"] = {"userIdentifiers": user}
    if clicks := ad_identifiers(record):
        made["adIdentifiers"] = clicks
    if agreed := consents(found, consent):
        made["consent"] = agreed
    if "currency" in found:
        made["currency"] = str(found["currency"]).strip().upper()
    made |= {name: number(found[name]) for name in ("conversionValue", "conversionCount") if name in found}
    if bought := cart_of(found, cart):
        made["cartData"] = bought
    if about := {name: str(found[name]).upper() for name in USER if name in found}:
        made["userProperties"] = about
    made |= {name: found[name] for name in OBJECTS if name in found}
    given = {name: record.fields.get(name) for name in custom_variables}
    variables = [
        {"variable": name, "value": _text(value)}
        for name, value in given.items()
        if value is not None and not _is_nested(value)
    ]
    return {**made, "customVariables": variables} if variables else made


def user_identifiers(record: Record) -> list[dict[str, Any]]:
    """Return one object per identifier; an address is a single identifier, included only if complete."""
    there = record.identifiers
    found: list[dict[str, Any]] = [
        {name: there[name]} for name in ("emailAddress", "phoneNumber") if name in there
    ]
    if there.keys() >= {*ADDRESS}:
        found.append({"address": {name: there[name] for name in ADDRESS}})
    return found


def ad_identifiers(record: Record) -> dict[str, str]:
    """Return the event's click id, and the attributes of its session."""
    there = record.identifiers
    click = next((name for name in CLICKS if name in there), None)
    names = [*([] if click is None else [click]), "sessionAttributes"]
    return {name: str(there[name]) for name in names if name in there}


def consents(found: Mapping[str, Any], usual: Mapping[str, str]) -> dict[str, str]:
    """Return the event's consent, else the configured default."""
    given = {name: consent_of(found[name]) for name in CONSENTS if name in found}
    agreed = {name: f"CONSENT_{value}" for name, value in usual.items()}
    return {**agreed, **{name: value for name, value in given.items() if value is not None}}


def consent_of(value: Any) -> str | None:
    """Return Google's name of a consent value; None if invalid."""
    return _CONSENT.get(str(value).strip().lower().removeprefix("consent_"))


def cart_of(found: Mapping[str, Any], usual: Mapping[str, str]) -> dict[str, Any]:
    """Return the cart; empty without items, which Google requires."""
    items = found.get("items")
    listed = [each for each in items if isinstance(each, Mapping)] if isinstance(items, list) else []
    made = [
        {name: _item_value(name, each[name]) for name in ITEM if each.get(name) is not None}
        for each in listed
        if each.get("merchantProductId") or each.get("itemId")
    ]
    if not made:
        return {}
    coupons = found.get("couponCodes", [])
    about: dict[str, Any] = {
        **usual,
        **{name: str(found[name]) for name in CART_FIELDS[3:] if name in found},
        "items": made,
    }
    if coupons:
        about["couponCodes"] = [str(each) for each in (coupons if isinstance(coupons, list) else [coupons])]
    if "transactionDiscount" in found:
        about["transactionDiscount"] = number(found["transactionDiscount"])
    return about


def _item_value(name: str, value: Any) -> Any:
    if name in ("merchantProductId", "itemId"):
        return str(value)
    parsed = number(value)
    return value if parsed is None else parsed


def number(value: Any) -> float | int | None:
    """Parse a finite number, also from text; None if invalid."""
    made = None if isinstance(value, bool) else finite(value)
    return None if made is None else plain(made)


def rfc3339(moment: Any) -> str | None:
    """Convert an ISO 8601 timestamp to Google's format in UTC; None if invalid."""
    try:
        return moment_of(str(moment)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except ValueError:
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
