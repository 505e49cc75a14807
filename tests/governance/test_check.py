"""Check a message against the plan: every rule and its violation."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.errors import UsageError
from revetl.governance.tracking_plan import Checker, TrackingPlan
from tests.governance.examples import PLAN, VALID, order, plan_of

Found = list[tuple[str | None, str, str, str]]


def found(plan: TrackingPlan, message: dict[str, Any]) -> Found:
    return [(each.path, each.rule, each.expected, each.found) for each in Checker(plan).check(message)]


def test_a_valid_order() -> None:
    assert found(plan_of(PLAN), order(VALID)) == []


def test_an_order_with_exactly_four_violations() -> None:
    wrong = {
        "total": -1,
        "currency": "CHF",
        "products": [{"sku": "s1"}, {"sku": 7}],
    }
    assert found(plan_of(PLAN), order(wrong)) == [
        ("currency", "enum", 'one of "USD", "EUR", "GBP"', '"CHF"'),
        ("order_id", "required", "string", "nothing"),
        ("products[1].sku", "type", "string", "7"),
        ("total", "minimum", "at least 0", "-1"),
    ]
    violation = Checker(plan_of(PLAN)).check(order(wrong))[0]
    assert (violation.message_id, violation.message_type, violation.event, violation.action) == (
        "m1",
        "track",
        "Order Completed",
        "flag",
    )


CASES: dict[str, tuple[dict[str, Any], Any, Any, Found]] = {
    # name: the rules of the property p, values that keep them, one that does not, and what is found.
    "required": (
        {"required": True, "type": ["string", "null"]},
        [None, ""],
        ...,
        [("p", "required", "string or null", "nothing")],
    ),
    "required of any type": ({"required": True}, [None, 1], ..., [("p", "required", "any value", "nothing")]),
    "string": ({"type": "string"}, ["", "1"], 1, [("p", "type", "string", "1")]),
    "number": ({"type": "number"}, [0, -1.5, 1e30], "1", [("p", "type", "number", '"1"')]),
    "number is no boolean": ({"type": "number"}, [0], True, [("p", "type", "number", "true")]),
    "integer": ({"type": "integer"}, [1, 1.0, -3, 10**20], 1.5, [("p", "type", "integer", "1.5")]),
    "boolean": ({"type": "boolean"}, [True, False], 0, [("p", "type", "boolean", "0")]),
    "object": ({"type": "object"}, [{}, {"a": 1}], [1], [("p", "type", "object", "array")]),
    "array": ({"type": "array"}, [[], [1, "a"]], {"a": 1}, [("p", "type", "array", "object")]),
    "null": ({"type": "null"}, [None], "", [("p", "type", "null", '""')]),
    "null is no string": ({"type": "string"}, [""], None, [("p", "type", "string", "null")]),
    "any": ({"type": "any"}, [None, 1, "a", [], {}], ..., []),
    "one of two": (
        {"type": ["integer", "string"]},
        [1, "a"],
        None,
        [("p", "type", "integer or string", "null")],
    ),
    "pattern": (
        {"pattern": "^[a-z]+$"},
        ["a", 5, None],
        "a\n",
        [("p", "pattern", "to match ^[a-z]+$", '"a\\n"')],
    ),
    "pattern is a search": ({"pattern": "b"}, ["abc"], "ac", [("p", "pattern", "to match b", '"ac"')]),
    "minimum": ({"minimum": 2}, [2, 2.5, "1"], 1.9, [("p", "minimum", "at least 2", "1.9")]),
    "maximum": ({"maximum": 0.5}, [0.5, -9, [9]], 0.6, [("p", "maximum", "at most 0.5", "0.6")]),
    "enum": (
        {"enum": ["a", 1, None]},
        ["a", 1.0, None],
        True,
        [("p", "enum", 'one of "a", 1, null', "true")],
    ),
    "enum and type": (
        {"type": "string", "enum": ["a"]},
        ["a"],
        1,
        [("p", "enum", 'one of "a"', "1"), ("p", "type", "string", "1")],
    ),
    "nested": (
        {"type": "object", "properties": [{"name": "q", "type": "string", "required": True}]},
        [{"q": ""}],
        {},
        [("p.q", "required", "string", "nothing")],
    ),
    "nested in anything else": (
        {"properties": [{"name": "q", "required": True}]},
        ["a", []],
        {},
        [("p.q", "required", "any value", "nothing")],
    ),
    "items": (
        {"type": "array", "items": {"type": "integer", "minimum": 1}},
        [[], [1, 2]],
        [1, 0, "a"],
        [("p[1]", "minimum", "at least 1", "0"), ("p[2]", "type", "integer", '"a"')],
    ),
    "items of items": (
        {"items": {"items": {"type": "string"}}},
        [[["a"]], "b"],
        [[], ["a", 1]],
        [("p[1][1]", "type", "string", "1")],
    ),
    "a long value": ({"type": "integer"}, [1], "a" * 300, [("p", "type", "integer", '"' + "a" * 199)]),
}


@pytest.mark.parametrize(("rules", "right", "wrong", "expected"), CASES.values(), ids=CASES.keys())
def test_each_rule(rules: dict[str, Any], right: list[Any], wrong: Any, expected: Found) -> None:
    plan = TrackingPlan.model_validate(
        {"events": [{"name": "Order Completed", "properties": [{"name": "p", **rules}]}]}
    )
    for value in right:
        assert found(plan, order({"p": value})) == []
    assert found(plan, order({} if wrong is ... else {"p": wrong})) == expected


UNPLANNED = """
events:
  - name: Order Completed
    properties: [{name: a, properties: [{name: b}]}, {name: c, items: {properties: []}}]
unplanned_properties: omit
"""


def test_unplanned_properties_are_found_at_every_level() -> None:
    properties = {"a": {"b": 1, "x.y": 2}, "c": [{"z": [1]}, 5], "d": {"e": 1}}
    expected = [
        ('a["x.y"]', "unplanned_property", "no such property", "2"),
        ("c[0].z", "unplanned_property", "no such property", "array"),
        ("d", "unplanned_property", "no such property", "object"),
    ]
    assert found(plan_of(UNPLANNED), order(properties)) == expected
    assert {each.action for each in Checker(plan_of(UNPLANNED)).check(order(properties))} == {"omit"}
    assert found(plan_of(UNPLANNED.replace("omit", "allow")), order(properties)) == []


def test_allowed_violations_are_ignored_and_blocked_ones_have_the_action() -> None:
    plan = plan_of(
        """
        events:
          - {name: Order Completed, on_violation: allow, properties: [{name: a, type: string}]}
          - name: Signed Up
            on_violation: block
            unplanned_properties: flag
            properties: [{name: a, type: string}]
        unplanned_events: block
        """
    )
    assert found(plan, order({"a": 1, "b": 1})) == []
    signed_up = Checker(plan).check(order({"a": 1, "b": 1}, event=" Signed Up "))
    assert [(each.path, each.action) for each in signed_up] == [("a", "block"), ("b", "flag")]
    other = Checker(plan).check(order({}, event="Other"))
    assert [(each.path, each.rule, each.found, each.action) for each in other] == [
        (None, "unplanned_event", "Other", "block")
    ]


def test_messages_of_other_types() -> None:
    plan = plan_of(
        """
        identify: {traits: [{name: email, type: string, pattern: '@'}]}
        group: {on_violation: block, traits: [{name: plan, required: true}]}
        page: {properties: [{name: url, required: true}]}
        """
    )
    expected: dict[str, Any] = {
        "identify": [("email", "pattern", "to match @", '"a"')],
        "group": [("plan", "required", "any value", "nothing")],
        "page": [("url", "required", "any value", "nothing")],
        "screen": [],
        "alias": [],
        "track": [],
    }
    for kind, violations in expected.items():
        message = {"type": kind, "traits": {"email": "a"}, "properties": {"email": "a"}, "event": "E"}
        assert found(plan, message) == violations, kind


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, []),
        ({}, []),
        ([], [(None, "type", "object", "array")]),
        ("{}", [(None, "type", "object", '"{}"')]),
    ],
)
def test_a_document_that_is_not_an_object(document: Any, expected: Found) -> None:
    plan = plan_of("events: [{name: Order Completed, properties: [{name: a, type: string}]}]")
    assert found(plan, order(document)) == expected
    assert found(plan, {"type": "track", "event": "Order Completed"}) == []


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({}, "type is missing. Set it to one of track, identify"),
        ({"type": "Track"}, "type 'Track' is not known. Did you mean 'track'?"),
    ],
)
def test_an_invalid_message_is_an_error(message: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match="type") as error:
        Checker(plan_of(PLAN)).check(message)
    assert sentence in str(error.value)
