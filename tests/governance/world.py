"""Plans and messages, any of them, and what a query of violations says of them on DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
from hypothesis import strategies as st

from revetl.governance.tracking_plan.check import Checker, Violation
from revetl.governance.tracking_plan.plan import (
    DOCUMENTS,
    Property,
    TrackingPlan,
    Value,
)
from revetl.governance.tracking_plan.policy import action_of

Message = dict[str, Any]
Broken = tuple[Any, ...]

NAMES = ["a", "b", "A", "it's", "a.b", "c d", "e[0]", "ü", "0", "*", "x/y", "~", "$", "#", "`q`", "%"]
PATTERNS = ["^a", "b$", r"^\d+$", "a|b", r"^[^a]?$", "é", r"\\", "'", r'"', r"^.{2}$", r"\s", "[A-Z_-]{1,2}"]
SOURCES = ["web", "it's an app"]
EVENTS = ["Order Completed", "it's", "Signed Up"]
STRINGS = [
    "",
    "a",
    "b",
    "ab",
    "12",
    "1.0",
    'say "x"',
    "back\\slash",
    "it's",
    "é",
    "a\nb",
    "a\n",
    "null",
    "€ _",
]

strings = st.sampled_from(STRINGS) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=4
)
numbers = st.sampled_from([0, -1, 1, 2, 1.0, 0.5, -0.5, 1e3, 2.0**53, 10**20, 1e-7]) | st.integers(-5, 5)
scalars = st.none() | st.booleans() | numbers | strings
names = st.sampled_from(NAMES)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
_actions = st.sampled_from(["block", "flag", "allow"])
types = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null", "any"])
_printed = st.sampled_from([text for text in STRINGS if "\n" not in text])
_enums = st.lists(st.none() | st.booleans() | numbers | _printed, min_size=1, max_size=3)


@st.composite
def planned_values(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """A value of a plan: of any types, with rules that go with them."""
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found["type"] = draw(st.lists(types, min_size=1, max_size=2, unique=True))
    given = set(found.get("type", ["any"]))

    def may(*some: str) -> bool:
        return bool(given & {*some, "any"}) and draw(st.booleans())

    if may("string"):
        found["pattern"] = draw(st.sampled_from(PATTERNS))
    if may("number", "integer"):
        found["minimum"] = draw(st.sampled_from([-1, 0, 0.5, 1]))
    if may("number", "integer"):
        found["maximum"] = draw(st.sampled_from([1, 1.5, 1000]))
    if "any" in given and draw(st.booleans()):
        found["enum"] = draw(_enums)
    if depth and may("object"):
        found["properties"] = draw(planned_properties(depth - 1))
    if depth and may("array"):
        found["items"] = draw(planned_values(depth - 1))
    return found


@st.composite
def planned_properties(draw: st.DrawFn, depth: int = 2) -> list[dict[str, Any]]:
    """Properties of a plan."""
    chosen = draw(st.lists(names, max_size=3, unique=True))
    return [{"name": name, "required": draw(st.booleans()), **draw(planned_values(depth))} for name in chosen]


@st.composite
def plans(draw: st.DrawFn) -> TrackingPlan:
    """A plan of some events and some of the other types."""
    unplanned = st.sampled_from(["block", "omit", "flag", "allow"])
    found: dict[str, Any] = {
        "on_violation": draw(_actions),
        "events": [
            {"name": name, "properties": draw(planned_properties()), **draw(_policies())}
            for name in draw(st.lists(st.sampled_from(EVENTS), max_size=2, unique=True))
        ],
        "unplanned_events": draw(st.sampled_from(["block", "flag", "allow"])),
        "unplanned_properties": draw(unplanned),
    }
    for kind in draw(
        st.lists(st.sampled_from(["identify", "group", "page", "screen"]), max_size=2, unique=True)
    ):
        found[kind] = {DOCUMENTS[kind]: draw(planned_properties(1)), **draw(_policies())}
    if draw(st.booleans()):
        names = [event["name"] for event in found["events"]]
        found["sources"] = {
            source: {
                **draw(st.fixed_dictionaries({}, optional={"unplanned_events": _actions})),
                **draw(_policies()),
                "events": draw(st.dictionaries(st.sampled_from(names), _actions)) if names else {},
            }
            for source in draw(st.lists(st.sampled_from(SOURCES), max_size=2, unique=True))
        }
    return TrackingPlan.model_validate(found)


def _policies() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "on_violation": _actions,
            "unplanned_properties": st.sampled_from(["block", "omit", "flag", "allow"]),
        },
    )


@st.composite
def fitting(draw: st.DrawFn, value: Value, depth: int = 3) -> Any:
    """A value that is often as it is planned to be, and else nearly so, or anything."""
    kind = draw(st.sampled_from(["as planned"] * 5 + ["anything"]))
    if kind == "anything" or not depth:
        return draw(values)
    if value.enum and draw(st.booleans()):
        return draw(st.sampled_from(value.enum))
    types_of_it = value.types or ("string", "integer", "object", "array")
    chosen = draw(st.sampled_from(types_of_it))
    if chosen == "object":
        return draw(documents(value.properties or (), depth - 1))
    if chosen == "array":
        return draw(st.lists(fitting(value.items or Value(), depth - 1), max_size=3))
    simple = {"string": strings, "number": numbers, "integer": numbers, "boolean": st.booleans()}
    return draw(simple.get(chosen, st.none()))


@st.composite
def documents(draw: st.DrawFn, properties: tuple[Property, ...], depth: int = 3) -> dict[str, Any]:
    """An object that has most of its planned properties, and sometimes another."""
    found = {
        each.name: draw(fitting(each, depth))
        for each in properties
        if draw(st.sampled_from([True] * 4 + [False]))
    }
    return found | draw(st.just({}) | st.dictionaries(names, scalars, max_size=1))


@st.composite
def messages(draw: st.DrawFn, plan: TrackingPlan) -> Message:
    """A message, mostly of what the plan has."""
    planned = list(plan.rules())
    if planned and draw(st.sampled_from([True] * 7 + [False])):
        rules = draw(st.sampled_from(planned))
        document = draw(documents(rules.properties) | documents(rules.properties) | st.none() | values)
        return _message(rules.message_type, rules.event, document)
    kind = draw(st.sampled_from(list(DOCUMENTS)))
    return _message(kind, draw(st.sampled_from([*EVENTS, "Other"])), draw(values))


def _message(kind: str, event: str | None, document: Any) -> Message:
    found: Message = {"type": kind, "messageId": ""}
    if kind == "track":
        found["event"] = event
    # A document that is JSON's null is as good as none.
    return {**found, DOCUMENTS[kind]: document}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[TrackingPlan, list[Message]]:
    """A plan and messages."""
    plan = draw(plans())
    some = draw(st.lists(messages(plan), min_size=5, max_size=20))
    sources = st.sampled_from([None, "other", *SOURCES])
    return plan, [
        {**message, "messageId": f"m{index}", "source": draw(sources)} for index, message in enumerate(some)
    ]


def without_omitted(plan: TrackingPlan, message: Message) -> Any:
    """A message's document as staging has it, without what the plan omits."""
    document = message.get(DOCUMENTS[message["type"]])
    for rules in plan.rules():
        is_of = (rules.message_type, rules.event) == (message["type"], message.get("event"))
        action = action_of(rules.unplanned_properties, message.get("source"))
        if is_of and action == "omit" and isinstance(document, dict):
            return _planned_members(document, rules.properties)
    return document


def _planned_members(value: dict[str, Any], properties: tuple[Property, ...]) -> dict[str, Any]:
    planned = {each.name: each for each in properties}
    return {name: _planned(each, planned[name]) for name, each in value.items() if name in planned}


def _planned(value: Any, planned: Value) -> Any:
    if isinstance(value, dict) and planned.properties is not None:
        return _planned_members(value, planned.properties)
    if isinstance(value, list) and planned.items is not None:
        return [_planned(each, planned.items) for each in value]
    return value


LANDED = """
create or replace table landed (
    message_type varchar, message_id varchar, event varchar, content json,
    timestamp timestamp, received_at timestamp, uuid_ts timestamp, source_id varchar
)
"""


def rows_of(some: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Messages as rows of `landed`, each received once."""
    moment = "2026-01-01"
    return [
        (
            each["type"],
            each["messageId"],
            each.get("event"),
            json.dumps(each[DOCUMENTS[each["type"]]], ensure_ascii=False)
            if DOCUMENTS[each["type"]] in each
            else None,
            moment,
            moment,
            moment,
            each.get("source"),
        )
        for each in some
    ]


def asked(connection: duckdb.DuckDBPyConnection, query: str, some: list[Message]) -> set[Broken]:
    """What a query of violations finds in messages."""
    connection.execute(LANDED)
    if some:
        connection.executemany("insert into landed values (?, ?, ?, ?, ?, ?, ?, ?)", rows_of(some))
    found = connection.execute(query).fetchall()
    made = [broken(Violation(row[0], row[1], *row[2:8])) for row in found]
    assert len(set(made)) == len(made)
    return set(made)


def staged(connection: duckdb.DuckDBPyConnection, query: str, some: list[Message]) -> dict[str, Any]:
    """What a query of documents gives of messages, by their id."""
    connection.execute(LANDED)
    if some:
        connection.executemany("insert into landed values (?, ?, ?, ?, ?, ?, ?, ?)", rows_of(some))
    return documents_of(connection.execute(query).fetchall())


def documents_of(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """JSON texts by message id, read: numbers by their value."""
    return {name: None if text is None else json.loads(text, parse_int=float) for name, text in rows}


def violations_in(checker: Checker, some: Iterable[Message]) -> set[Broken]:
    """What the JSON Schema finds in messages."""
    return {broken(each) for message in some for each in checker.check(message, message.get("source"))}


def broken(violation: Violation) -> Broken:
    """A violation as two engines have the same: numbers by their value."""
    try:
        found = json.dumps(json.loads(violation.found, parse_int=float), sort_keys=True)
    except ValueError:
        found = violation.found
    return (
        violation.message_id,
        violation.message_type,
        violation.event,
        violation.path,
        violation.rule,
        violation.expected,
        found,
        violation.action,
    )
