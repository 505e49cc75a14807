"""Messages of the shop's customers beside their orders, with what makes a reader stumble. Always the same."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

# The last two are in one order by their code points, and in the other by UTF-16.
CATEGORIES: list[Any] = [
    "books",
    " books ",
    "Books",
    "toys",
    "50%_off",
    "5_",
    "ünï",
    'a "quote"',
    "it's",
    "\\",
    "",
    "  ",
    None,
]
CATEGORIES += [7, "7", True, "\uff3a", "\U0001d11e"]
PRICES = [10, 10.5, "12.25", " 3 ", "x", "", None, -4, 0, 0.00005, 2.00004, True, "-0.5", 1234567.8912]
DATES: list[Any] = [
    "2011-06-20",
    "2011-06-20T10:00:00Z",
    "2011-06-20T10:00:00+02:00",
    "2011-06-20 10:00:00",
    "2011-06-19",
]
DATES += ["2011-06-30T23:59:59.123456Z", "2011-07-01T00:00:00Z", "2011-07-02", "soon", "", None, "2011-13-01"]
DATES += ["2011-06-24", "2011-06-24T00:00:00.000001Z", "2011-06-16T13:30:00Z"]
MEMBERS = [True, False, None, "yes", 1]
SHIPPINGS: list[Any] = [{"city": "Bonn"}, {"city": " Köln "}, {"city": ""}, {"city": None}, {}, "Bonn", None]
LINES: list[Any] = [{"sku": "a", "price": 2.5, "gift": True}, {"sku": "b", "price": "4", "gift": False}]
LINES += [{"sku": " a ", "price": 1}, {"sku": None, "price": 3}, {"price": 0.3333}, {}, 3, "a", None]
EVENTS = ["Product Viewed", "Product Viewed", "Product Added", "Product Removed", "Checkout Started"]
NAMES = ["Home", "Pricing", "Blog"]

# Moments on which windows begin or end, as of the two days that the traits are built as of.
EDGES = ["2011-06-01T00:00:00Z", "2011-06-27T00:00:00Z", "2011-07-01T00:00:00Z", "2011-06-16T13:30:00Z"]
EDGES += ["2011-06-16T00:00:00Z", "2011-06-13T00:00:00Z", "2011-04-01T00:00:00Z", "2011-05-17T13:30:00Z"]
EDGES += [
    "2011-06-15T01:30:00Z",
    "2011-06-29T12:00:00Z",
    "2011-06-03T00:00:00Z",
    "2011-06-26T23:59:59.999999Z",
]


def more_messages(people: list[dict[str, str]], count: int = 2_500) -> list[str]:
    """NDJSON lines of what `people` (their identifiers) viewed, added, and belong to."""
    chance = random.Random(11)
    lines = []
    for number in range(count):
        sent = {"messageId": f"more-{number:05}", "timestamp": _time(chance), **chance.choice(people)}
        lines.append(json.dumps({**sent, **_content(chance)}))
    return [*lines, *lines[:50]]


def _content(chance: random.Random) -> dict[str, Any]:
    kind = chance.choices(["track", "page", "screen", "group"], [16, 3, 2, 1])[0]
    context = (
        {"campaign": {"name": chance.choice(["spring", "summer", "", None])}} if chance.random() < 0.7 else {}
    )
    if kind == "group":
        return {"type": kind, "groupId": f"account {chance.randrange(12)}", "traits": {}}
    if kind != "track":
        return {
            "type": kind,
            "name": chance.choice(NAMES),
            "properties": _properties(chance),
            "context": context,
        }
    return {
        "type": kind,
        "event": chance.choice(EVENTS),
        "properties": _properties(chance),
        "context": context,
    }


def _properties(chance: random.Random) -> dict[str, Any]:
    everything: dict[str, Any] = {
        "category": chance.choice(CATEGORIES),
        "price": chance.choice(PRICES),
        "until": chance.choice(DATES),
        "member": chance.choice(MEMBERS),
        "shipping": chance.choice(SHIPPINGS),
        "cart": {"lines": chance.choices(LINES, k=chance.randrange(4)) if chance.random() < 0.9 else "none"},
    }
    return {name: value for name, value in everything.items() if chance.random() < 0.8}


def _time(chance: random.Random) -> str:
    if chance.random() < 0.25:
        return chance.choice(EDGES)
    at = datetime(2011, 5, 1) + timedelta(seconds=chance.randrange(63 * 86_400))
    return f"{at.isoformat()}Z" if chance.random() < 0.8 else f"{at.isoformat()}.25+02:00"
