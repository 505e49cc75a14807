"""Rules of GA4, which silently drops names and values that are too long, reserved, or of the wrong type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from revetl.destinations.base.flow import Refused
from revetl.destinations.base.records import Record
from revetl.destinations.base.shapes import LEFT_OUT, Shape

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
_PLACEHOLDER = re.compile("<.*>")
"""A placeholder for an unset variable, when nothing is sent."""
_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")


_STREAMS = {
    "measurement_id": (
        re.compile("G-[A-Z0-9]+"),
        "a measurement id such as G-ABC1234567, found in Google Analytics under Admin > "
        "Data streams; for an app stream, set firebase_app_id",
    ),
    "firebase_app_id": (
        re.compile("[0-9]+:[0-9]+:(android|ios|web):[0-9a-fA-F]+"),
        "a Firebase app id such as 1:1234567890:android:321abc456def7890, found in the Firebase console "
        "under Project settings > Your apps; for a web stream, set measurement_id",
    ),
}
"""The format of stream ids, and where to find them."""
_OTHERS = {
    "UA-": "a tracking id of Universal Analytics, which was shut down: Google stopped processing its data in "
    "July 2024. Create a Google Analytics 4 property",
    "GTM-": "a Google Tag Manager container",
    "GT-": "a Google tag",
    "AW-": "a Google Ads id",
    "DC-": "a Campaign Manager id",
    "G-": "a measurement id",
}


def refused_stream(key: str, value: str) -> str | None:
    """Explain why a value isn't a stream id for the configuration key; None if it may be. Google responds
    with success to nonexistent streams."""
    pattern, wanted = _STREAMS[key]
    if pattern.fullmatch(value) or _PLACEHOLDER.fullmatch(value):
        return None
    other = next((what for begin, what in _OTHERS.items() if value.strip().upper().startswith(begin)), None)
    if other is None or (key == "measurement_id" and value.strip().upper().startswith("G-")):
        return f"'{value}' is not {wanted}"
    return f"'{value}' is {other}. Set {wanted}"


class NameLimits(NamedTuple):
    """Maximum lengths of a name and a text, the maximum count, and names reserved by Google."""

    name: int
    value: int = 0
    most: int = 25
    reserved: frozenset[str] = frozenset()


RULES = {
    "event": NameLimits(
        name=40,
        reserved=frozenset(
            [
                "ad_activeview",
                "ad_click",
                "ad_exposure",
                "ad_query",
                "ad_reward",
                "adunit_exposure",
                "app_background",
                "app_clear_data",
                "app_exception",
                "app_install",
                "app_remove",
                "app_store_refund",
                "app_store_subscription_cancel",
                "app_store_subscription_convert",
                "app_store_subscription_renew",
                "app_update",
                "app_upgrade",
                "dynamic_link_app_open",
                "dynamic_link_app_update",
                "dynamic_link_first_open",
                "error",
                "firebase_campaign",
                "firebase_in_app_message_action",
                "firebase_in_app_message_dismiss",
                "firebase_in_app_message_impression",
                "first_open",
                "first_visit",
                "in_app_purchase",
                "notification_dismiss",
                "notification_foreground",
                "notification_open",
                "notification_receive",
                "notification_send",
                "os_update",
                "session_start",
                "user_engagement",
            ]
        ),
    ),
    "parameter": NameLimits(name=40, value=100, reserved=frozenset({"firebase_conversion"})),
    "user property": NameLimits(
        name=24,
        value=36,
        reserved=frozenset(
            [
                "first_open_time",
                "first_visit_time",
                "last_deep_link_referrer",
                "user_id",
                "first_open_after_install",
            ]
        ),
    ),
}
_LONGER = {"page_title": 300, "page_referrer": 420, "page_location": 1_000}
_LISTS = ("items",)
_LEGACY = {"category": "event_category", "label": "event_label"}


def event_name(name: object) -> str:
    """Return a valid GA4 event name, without spaces."""
    return re.sub("[ \t]+", "_", str(name).strip())


def worded(event: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an event's name and parameters, without nulls. Category, action and label of Universal Analytics
    are converted as in Google's migration guide: the action becomes the event name."""
    params = {name: value for name, value in fields.items() if value is not None}
    if {"category", "action"} <= params.keys():
        event = str(params.pop("action"))
        params = {_LEGACY.get(name, name): value for name, value in params.items()}
    return event_name(event), params


def kind_of(mode: str) -> str:
    """Return the type that fields have in a sync mode."""
    return "parameter" if mode in ("events", "audience_events") else "user property"


def check_names(names: Mapping[str, Sequence[str]]) -> None:
    """Raises Refused for a name that is invalid for its type (RULES)."""
    for kind, given in names.items():
        if wrong := _refused_name(kind, given):
            raise Refused(f"google_analytics: {wrong}. Rename it.")


def refused_event(record: Record) -> str | None:
    """Explain what is wrong with the names of a record with its own event name; None if they are valid."""
    if record.event is None:
        return None
    name, params = worded(record.event, record.fields)
    return _refused_name("event", [name]) or _refused_name("parameter", [*params])


def _refused_name(kind: str, names: Sequence[str]) -> str | None:
    rule = RULES[kind]
    if len(names) > rule.most:
        return f"{len(names)} fields of type {kind} exceed the maximum of {rule.most}"
    for name in names:
        if not _NAME.fullmatch(name):
            return (
                f"{kind} '{name}' must start with a letter and contain only letters, digits and underscores"
            )
        if len(name) > rule.name:
            return f"{kind} '{name}' has {len(name)} characters, more than the maximum of {rule.name}"
        if name in rule.reserved or name.startswith(_PREFIXES):
            return f"{kind} '{name}' is reserved by Google"
    return None


@cache
def parameters_of(times: int) -> Shape:
    """Return the shape of event parameters, with maximum text lengths multiplied by `times`."""
    rule = RULES["parameter"]
    return Shape(
        name=re.compile(f"[A-Za-z][A-Za-z0-9_]{{0,{rule.name - 1}}}"),
        longest=lambda name: _LONGER.get(name, rule.value * times),
        most=rule.most,
        reserved=lambda name: name in rule.reserved or name.startswith(_PREFIXES),
        own=_LISTS,
    )


def fitted(fields: Mapping[str, Any], times: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Return an event's parameters adjusted to GA4, and the changes: items without id and name are
    dropped."""
    made, how = parameters_of(times).fitted(fields)
    items = made.get("items")
    if not isinstance(items, list):
        return made, how
    named = [
        {name: value for name, value in item.items() if not isinstance(value, list | dict)}
        for item in items
        if isinstance(item, dict) and (item.get("item_id") or item.get("item_name"))
    ]
    if named == items:
        return made, how
    others = {name: value for name, value in made.items() if name != "items"}
    return {**others, **({"items": named} if named else {})}, {**how, "items": LEFT_OUT}


def refused_value(kind: str, values: Mapping[str, Any], times: int) -> str | None:
    """Explain what is wrong with the values of a type (RULES), with maximum text lengths multiplied by
    `times`; None if they are valid."""
    for name, value in values.items():
        if isinstance(value, list | dict) and name not in _LISTS:
            return f"{kind} '{name}' is a list or an object, which GA4 does not accept"
        most = _LONGER.get(name, RULES[kind].value * times) if kind == "parameter" else RULES[kind].value
        if isinstance(value, str) and len(value) > most:
            return f"{kind} '{name}' has {len(value)} characters, more than the maximum of {most}"
    return None
