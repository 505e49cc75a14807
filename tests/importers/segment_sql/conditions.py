"""Conditions of audiences, and the same as Python reads the messages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

START = datetime(2026, 1, 1)
NOW = datetime(2026, 3, 1)
PEOPLE = [f"u{number}" for number in range(60)]
TRAITS = {
    "spent": {"type": "sum", "event": "Ordered", "property": "price"},
    "orders": {"type": "count", "event": "Ordered"},
    "last_order": {"type": "last_at", "event": "Ordered"},
    "favourite": {"type": "most_frequent", "event": "Ordered", "property": "kind", "minimum": 1},
    "has_viewed": {"type": "has_done", "event": "Viewed"},
    "kinds": {"type": "unique_list", "event": "Ordered", "property": "kind"},
}


@dataclass(frozen=True)
class Event:
    """A message of somebody."""

    id: str
    person: str
    type: str
    name: str
    at: datetime
    properties: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.properties.get(name)


def some_events(chance: Random) -> list[Event]:
    events = []
    for number in range(700):
        kind = chance.choices(["track", "page"], [9, 1])[0]
        name = "Home" if kind == "page" else chance.choice(["Viewed", "Added", "Ordered"])
        at = START + timedelta(hours=chance.randrange(59 * 24))
        properties = {
            "price": chance.randrange(10),
            "quantity": chance.choice([1, 2, "3"]),
            "kind": chance.choice(["a", "b", "it's", None]),
            "gift": chance.choice([True, False]),
            "lines": [{"sku": chance.choice("xyz"), "price": chance.randrange(9)} for _ in range(number % 3)],
        }
        events.append(Event(f"m{number:04}", chance.choice(PEOPLE[:50]), kind, name, at, properties))
    return events


EVENTS = some_events(Random(7))


def lines(events: Iterable[Event]) -> list[str]:
    """As they are sent. Some of a person's are of before they were known."""
    sent = []
    for event in events:
        anonymous = int(event.id[1:]) % 5 == 0
        who = {"anonymousId": f"a-{event.person}"} if anonymous else {"userId": event.person}
        named = {"name": event.name} if event.type == "page" else {"event": event.name}
        about = {"type": event.type, "messageId": event.id, "timestamp": f"{event.at.isoformat()}Z"}
        sent.append(json.dumps({**about, **who, **named, "properties": event.properties}))
    for number, person in enumerate(PEOPLE):
        who = {"userId": person, "anonymousId": f"a-{person}"}
        about = {"type": "identify", "messageId": f"i{number}", "timestamp": "2026-01-01T00:00:00Z"}
        sent.append(json.dumps({**about, **who, "traits": {"email": f"{person}@example.com"}}))
    return sent


Predicate = Callable[[list[Event]], bool]


def times(name: str | None, where: Callable[[Event], bool] = lambda _: True, kind: str = "track") -> Any:
    """How often somebody has done something, as a function of their events."""
    return lambda events: sum(
        e.type == kind and (name is None or e.name == name) and where(e) for e in events
    )


def last(days: float) -> Callable[[Event], bool]:
    return lambda e: NOW - timedelta(days=days) < e.at <= NOW


def in_order(*steps: Callable[[Event], bool], hours: float = math.inf) -> Predicate:
    """By trying every way."""

    def holds(events: list[Event]) -> bool:
        rows = sorted((e for e in events if e.type == "track"), key=lambda e: (e.at, e.id))

        def ways(step: int, after: int, begin: datetime) -> bool:
            if step == len(steps):
                return True
            return any(
                steps[step](e)
                and (e.at - begin).total_seconds() <= hours * 3_600
                and ways(step + 1, at, begin)
                for at, e in enumerate(rows[after + 1 :], after + 1)
            )

        return any(steps[0](e) and ways(1, at, e.at) for at, e in enumerate(rows))

    return holds


def is_(name: str) -> Callable[[Event], bool]:
    return lambda e: e.name == name


def ordered(events: list[Event]) -> list[Event]:
    return [e for e in events if e.name == "Ordered"]


def of_orders(read: Callable[[list[Event]], bool]) -> Predicate:
    return lambda events: read(ordered(events))


CONDITIONS: dict[str, tuple[str, Predicate]] = {
    "has_ordered": ("did('Ordered')", lambda e: times("Ordered")(e) >= 1),
    "has_not": ("did_not('Ordered')", lambda e: times("Ordered")(e) == 0),
    "often": ("did('Ordered', at_least=4)", lambda e: times("Ordered")(e) >= 4),
    "not_often": ("did_not('Ordered', at_least=4)", lambda e: times("Ordered")(e) < 4),
    "a_few": ("did('Ordered', at_least=2, at_most=3)", lambda e: 2 <= times("Ordered")(e) <= 3),
    "either": (
        "did(['Ordered', 'Added'], at_least=9)",
        lambda e: times("Ordered")(e) + times("Added")(e) >= 9,
    ),
    "anything": ("did(within='2 days')", lambda e: times(None, last(2))(e) >= 1),
    "lately": ("did('Viewed', within='10 days')", lambda e: times("Viewed", last(10))(e) >= 1),
    "in_january": (
        "did('Viewed', at_least=2, within={'from': '2026-01-10', 'to': '2026-02-01'})",
        lambda e: times("Viewed", lambda x: datetime(2026, 1, 10) <= x.at < datetime(2026, 2, 1))(e) >= 2,
    ),
    "home": ("did('Home', source='page')", lambda e: times("Home", kind="page")(e) >= 1),
    "dear": (
        "did('Ordered', where={'property': 'price', 'greater_than': 7})",
        lambda e: times("Ordered", lambda x: x.price > 7)(e) >= 1,
    ),
    "dear_a": (
        "did('Ordered', where=[{'property': 'price', 'greater_than': 4},"
        " {'property': 'kind', 'equals': 'a'}])",
        lambda e: times("Ordered", lambda x: x.price > 4 and x.kind == "a")(e) >= 1,
    ),
    "in_words": (
        "did('Ordered', "
        """where="properties.price * properties.quantity > 12 and properties.kind <> 'it''s'")""",
        lambda e: times("Ordered", lambda x: x.price * int(x.quantity) > 12 and x.kind in ("a", "b"))(e) >= 1,
    ),
    "number_in_words": (
        "did('Ordered', where=\"properties.price in (1, 2) or 9 = properties.price\")",
        lambda e: times("Ordered", lambda x: x.price in (1, 2, 9))(e) >= 1,
    ),
    "text_in_words": (
        "did('Ordered', at_least=2, where=\"properties.kind is null or properties.gift = 'true'\")",
        lambda e: times("Ordered", lambda x: x.kind is None or x.gift)(e) >= 2,
    ),
    "quoted": (
        "did('Ordered', where=\"properties.kind = 'properties.kind' or properties.kind = 'it''s'\")",
        lambda e: times("Ordered", lambda x: x.kind == "it's")(e) >= 1,
    ),
    "any_element": (
        "did('Ordered', at_least=2, where={'property': 'lines[].sku', 'equals': 'x'})",
        lambda e: times("Ordered", lambda x: any(y["sku"] == "x" for y in x.lines))(e) >= 2,
    ),
    "one_element": (
        "did('Ordered', where=[{'property': 'lines[].sku', 'equals': 'x'},"
        " {'property': 'lines[].price', 'greater_than': 5}])",
        lambda e: (
            times("Ordered", lambda x: any(y["sku"] == "x" and y["price"] > 5 for y in x.lines))(e) >= 1
        ),
    ),
    "steps": (
        "did_in_order(['Viewed', 'Added', 'Ordered'])",
        in_order(is_("Viewed"), is_("Added"), is_("Ordered")),
    ),
    "quick_steps": (
        "did_in_order(['Viewed', 'Added', 'Ordered'], within='5 days')",
        in_order(is_("Viewed"), is_("Added"), is_("Ordered"), hours=120),
    ),
    "steps_where": (
        "did_in_order(['Viewed', {'event': 'Ordered', 'where': 'properties.price > 6'}], within='36 hours')",
        in_order(is_("Viewed"), lambda e: e.name == "Ordered" and e.price > 6, hours=36),
    ),
    "same_steps": ("did_in_order(['Ordered', 'Ordered', 'Ordered'])", lambda e: times("Ordered")(e) >= 3),
    "spent_much": ("trait('spent', '>', 20)", of_orders(lambda e: sum(x.price for x in e) > 20)),
    "no_orders": ("trait('orders', '=', 0)", of_orders(lambda e: not e)),
    "of_late": (
        "trait('last_order', 'within last', '10 days')",
        of_orders(lambda e: any(last(10)(x) for x in e)),
    ),
    "before": (
        "trait('last_order', 'before', '2026-02-20')",
        of_orders(lambda e: bool(e) and max(x.at for x in e) < datetime(2026, 2, 20)),
    ),
    "has_viewed_true": ("trait('has_viewed', '=', true)", lambda e: times("Viewed")(e) >= 1),
    "has_viewed_false": ("trait('has_viewed', '!=', true)", lambda e: times("Viewed")(e) == 0),
    "no_favourite": (
        "trait('favourite', 'not exists')",
        of_orders(lambda e: all(x.kind is None for x in e)),
    ),
    "list_of_kinds": (
        "trait('kinds', 'contains', '\"b\"')",
        of_orders(lambda e: any(x.kind == "b" for x in e)),
    ),
    "mails": ("trait('email', 'ends with', 'example.com')", lambda _: True),
    "together": (
        "did('Viewed', within='20 days') }} and {{ revetl.did_not('Ordered', within='20 days') }}"
        " and {{ revetl.in_audience('often')",
        lambda e: (
            times("Viewed", last(20))(e) >= 1
            and times("Ordered", last(20))(e) == 0
            and times("Ordered")(e) >= 4
        ),
    ),
    "not_in": (
        "in_audience('often') }} is not true and {{ revetl.did('Ordered')",
        lambda e: 1 <= times("Ordered")(e) < 4,
    ),
}


def of_(events: list[Event], person: str) -> list[Event]:
    return [event for event in events if event.person == person]


def audience(condition: str) -> str:
    return (
        "{{ config(meta={'revetl': {'key': 'user_id'}}) }} select user_id, canonical_id "
        "from {{ ref('revetl', 'revetl_profiles') }} where {{ revetl." + condition + " }}"
    )
