"""Random people, messages and traits, whose windows move and whose values are few, so that much is equal."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

START = datetime(2026, 1, 1)
DAYS = 75
EVENTS = ["Viewed", "Added", "Ordered"]
KINDS = ["a", "b", "B", "", None]

CONDITIONS: list[dict[str, Any]] = [
    {"property": "kind", "equals": "a"},
    {"property": "kind", "not_equals": "a"},
    {"property": "kind", "one_of": ["a", "b"]},
    {"property": "kind", "exists": True},
    {"property": "price", "greater_than": 2},
    {"property": "price", "equals": 1},
    {"property": "until", "before_date": "2026-02-10"},
    {"property": "until", "within_last": "5 days"},
    {"property": "until", "within_last": "12 hours"},
]


def a_line(chance: Random, number: int, people: int) -> str:
    """A message of someone who has few identifiers, some of which tie them to another."""
    person = chance.randrange(people)
    seconds = chance.randrange(DAYS * 24) * 3_600 + chance.choice([0, 0, 1, 1_800])
    sent: dict[str, Any] = {"messageId": f"m{number:05}", "timestamp": _iso(seconds)}
    shown = chance.choice(["user", "user", "anonymous", "anonymous", "both"])
    if shown != "anonymous":
        sent["userId"] = f"u{person}"
    if shown != "user":
        other = person if chance.random() < 0.9 else chance.randrange(people)
        sent["anonymousId"] = f"a{other}-{chance.randrange(2)}"
    kind = chance.choices(["track", "page", "identify"], [12, 2, 1])[0]
    if kind == "identify":
        return json.dumps({**sent, "type": kind, "traits": {}})
    named = {"event": chance.choice(EVENTS)} if kind == "track" else {"name": "Home"}
    return json.dumps({**sent, "type": kind, **named, "properties": _properties(chance)})


def some_traits(chance: Random, count: int) -> dict[str, dict[str, Any]]:
    """Traits of events that are declared."""
    return {f"t{number:02}": a_trait(chance) for number in range(count)}


def a_trait(chance: Random) -> dict[str, Any]:
    """A trait of any type but those of other traits."""
    of, kind = chance.choice(
        [
            (
                "events",
                chance.choice(["count", "first_at", "last_at", "days_since", "days_between", "has_done"]),
            ),
            ("numbers", chance.choice(["sum", "min", "max", "percentile"])),
            ("texts", chance.choice(["most_frequent", "first", "last", "unique_list", "unique_list_count"])),
            ("elements", chance.choice(["sum", "max", "most_frequent", "unique_list"])),
            ("steps", "funnel"),
        ]
    )
    made: dict[str, Any] = {"type": kind}
    if kind == "percentile":
        made["percentile"] = chance.choice([25, 50, 90])
    if of == "steps":
        made["steps"] = chance.sample(EVENTS, 2) if chance.random() < 0.5 else EVENTS
        return {**made, "within": f"{chance.randrange(1, 6)} days"} if chance.random() < 0.5 else made
    if chance.random() < 0.8:
        made["event"] = chance.choice([*EVENTS, EVENTS[:2]])
    if chance.random() < 0.5:
        made["where"] = chance.choice([chance.choice(CONDITIONS), chance.sample(CONDITIONS, 2)])
    if chance.random() < 0.6:
        made["window"] = _window(chance)
    if of == "elements":
        made["property"] = f"lines[].{'price' if kind in ('sum', 'max') else 'sku'}"
    elif of != "events":
        made["property"] = "price" if of == "numbers" else "kind"
    return made


def _window(chance: Random) -> dict[str, str]:
    return chance.choice(
        [
            {"last": f"{chance.randrange(1, 40)} days"},
            {"last": f"{chance.randrange(1, 60)} hours"},
            {"last": "2 weeks"},
            {"this": chance.choice(["day", "week", "month", "quarter", "year"])},
            {"from": "2026-01-20", "to": "2026-02-20"},
            {"from": "2026-02-01"},
        ]
    )


def _properties(chance: Random) -> dict[str, Any]:
    lines = [
        {"sku": chance.choice(["x", "y", "z", None]), "price": chance.choice([1, 2.5, "3"])}
        for _ in range(chance.randrange(3))
    ]
    everything: dict[str, Any] = {
        "price": chance.choice([1, 2, 2.25, "4", "x"]),
        "kind": chance.choice(KINDS),
        # Also later than when it is said.
        "until": _iso(chance.randrange(DAYS * 2) * 43_200),
        "lines": lines,
    }
    return {name: value for name, value in everything.items() if chance.random() < 0.85}


def _iso(seconds: int) -> str:
    return f"{(START + timedelta(seconds=seconds)).isoformat()}Z"
