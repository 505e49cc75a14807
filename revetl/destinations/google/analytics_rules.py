"""What GA4 drops without a word: names and values that are too long, reserved, or of a wrong kind."""

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
"""What stands for a variable that is not set, where nothing is sent."""
_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")


_STREAMS = {
    "measurement_id": (
        re.compile("G-[A-Z0-9]+"),
        "a measurement id such as G-ABC1234567, which Google Analytics shows for a web stream under Admin > "
        "Data streams; for an app stream, write firebase_app_id",
    ),
    "firebase_app_id": (
        re.compile("[0-9]+:[0-9]+:(android|ios|web):[0-9a-fA-F]+"),
        "a Firebase app id such as 1:1234567890:android:321abc456def7890, which the Firebase console shows "
        "under Project settings > Your apps; for a web stream, write measurement_id",
    ),
}
"""What the ids of streams look like, and where they are found."""
_OTHERS = {
    "UA-": "a tracking id of Universal Analytics, which has ended: Google has processed no data for it since "
    "July 2024. Make a Google Analytics 4 property",
    "GTM-": "a container of Google Tag Manager",
    "GT-": "a Google tag",
    "AW-": "an id of Google Ads",
    "DC-": "an id of Campaign Manager",
    "G-": "a measurement id",
}


def refused_stream(key: str, value: str) -> str | None:
    """Why a value does not name a stream under the configuration's key; None where it may. Google answers
    with success to whatever stream there is not."""
    pattern, wanted = _STREAMS[key]
    if pattern.fullmatch(value) or _PLACEHOLDER.fullmatch(value):
        return None
    other = next((what for begin, what in _OTHERS.items() if value.strip().upper().startswith(begin)), None)
    if other is None or (key == "measurement_id" and value.strip().upper().startswith("G-")):
        return f"'{value}' is not {wanted}"
    return f"'{value}' is {other}. Write {wanted}"


class Rule(NamedTuple):
    """How long a name and a text may be, how many there may be, and which names are Google's own."""

    name: int
    value: int = 0
    most: int = 25
    reserved: frozenset[str] = frozenset()


RULES = {
    "event": Rule(
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
    "parameter": Rule(name=40, value=100, reserved=frozenset({"firebase_conversion"})),
    "user property": Rule(
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
    """An event's name as GA4 takes it: it has no spaces."""
    return re.sub("[ \t]+", "_", str(name).strip())


def worded(event: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """An event's name and parameters, which are never null. The category, action and label of Universal
    Analytics are worded as its migration to GA4 has them: the action is the event's name."""
    params = {name: value for name, value in fields.items() if value is not None}
    if {"category", "action"} <= params.keys():
        event = str(params.pop("action"))
        params = {_LEGACY.get(name, name): value for name, value in params.items()}
    return event_name(event), params


def kind_of(mode: str) -> str:
    """What the fields of a sync mode are there."""
    return "parameter" if mode in ("events", "audience_events") else "user property"


def check_names(names: Mapping[str, Sequence[str]]) -> None:
    """Raise Refused for a name that is none of its kind (RULES)."""
    for kind, given in names.items():
        if wrong := _refused_name(kind, given):
            raise Refused(f"google_analytics: {wrong}. Give it another name.")


def refused_event(record: Record) -> str | None:
    """What is wrong with the names of a record that is tracked by a name of its own; None when nothing is."""
    if record.event is None:
        return None
    name, params = worded(record.event, record.fields)
    return _refused_name("event", [name]) or _refused_name("parameter", [*params])


def _refused_name(kind: str, names: Sequence[str]) -> str | None:
    rule = RULES[kind]
    if len(names) > rule.most:
        return f"{len(names)} of the kind {kind} are too many ({rule.most} are the most there)"
    for name in names:
        if not _NAME.fullmatch(name):
            return f"{kind} '{name}' is to begin with a letter, and to be of letters, digits and _"
        if len(name) > rule.name:
            return f"{kind} '{name}' has {len(name)} characters, and {rule.name} are the most there"
        if name in rule.reserved or name.startswith(_PREFIXES):
            return f"{kind} '{name}' is a name that Google keeps to itself"
    return None


@cache
def parameters_of(times: int) -> Shape:
    """What the parameters of an event are, their texts so many `times` as long."""
    rule = RULES["parameter"]
    return Shape(
        name=re.compile(f"[A-Za-z][A-Za-z0-9_]{{0,{rule.name - 1}}}"),
        longest=lambda name: _LONGER.get(name, rule.value * times),
        most=rule.most,
        reserved=lambda name: name in rule.reserved or name.startswith(_PREFIXES),
        own=_LISTS,
    )


def fitted(fields: Mapping[str, Any], times: int) -> tuple[dict[str, Any], dict[str, str]]:
    """An event's parameters as GA4 takes them, and what was done: an item without id and name is left out."""
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
    """What is wrong with the values of a kind (RULES), of which texts may be so many `times` longer; None
    when nothing is."""
    for name, value in values.items():
        if isinstance(value, list | dict) and name not in _LISTS:
            return f"{kind} '{name}' is a list or an object, which it does not take"
        most = _LONGER.get(name, RULES[kind].value * times) if kind == "parameter" else RULES[kind].value
        if isinstance(value, str) and len(value) > most:
            return f"{kind} '{name}' has {len(value)} characters, and {most} are the most there"
    return None
