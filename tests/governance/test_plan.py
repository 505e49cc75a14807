"""Read `tracking_plan.yaml`: errors name the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from revetl.errors import UsageError
from revetl.governance.tracking_plan import TrackingPlan, read_plan
from tests.governance.examples import PLAN


def read(folder: Path, text: str) -> TrackingPlan:
    path = folder / "tracking_plan.yaml"
    path.write_text(text)
    return read_plan(path)


def test_a_plan_as_it_is_documented(tmp_path: Path) -> None:
    plan = read(tmp_path, PLAN + "identify: {traits: [{name: plan, type: [string, null]}]}\n")
    (order, identify) = plan.rules()
    assert (order.message_type, order.event, order.on_violation) == ("track", "Order Completed", "flag")
    assert order.unplanned_properties == plan.unplanned_events == "allow"
    assert [each.name for each in order.properties] == ["order_id", "total", "currency", "products"]
    assert (identify.name, identify.document) == ("identify", "traits")
    assert identify.properties[0].type == ("string", "null")


def test_the_plan_has_the_defaults_of_events(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        "events: [{name: A}, {name: B, unplanned_properties: block}]\nunplanned_properties: omit\n",
    )
    assert [rules.unplanned_properties for rules in plan.rules()] == ["omit", "block"]


def test_an_empty_plan(tmp_path: Path) -> None:
    assert list(read(tmp_path, "# Nothing yet.\n").rules()) == []


def prop(text: str) -> str:
    return f"events:\n  - name: A\n    properties:\n      - name: a\n      - {{name: b, {text}}}\n"


WRONG = {
    "no YAML": ("events: [", "tracking_plan.yaml, line 1: "),
    "no mapping": ("- A", "tracking_plan.yaml, line 1: "),
    "an unknown key": (
        "\nevent: []",
        "line 2: event: unknown key 'event'. Did you mean 'events'?",
    ),
    "an unknown key inside": (
        prop("requried: true"),
        "line 5: events.0.properties.1.requried: unknown key 'requried'. Did you mean 'required'?",
    ),
    "an unknown type": (
        prop("type: text"),
        "line 5: events.0.properties.1.type: 'text' is not known. There are: any, array, boolean",
    ),
    "an unknown action": (
        "events:\n  - name: A\n    on_violation: drop",
        "line 3: events.0.on_violation: 'drop' is not known. There are: allow, block, flag.",
    ),
    "omit for an event": ("unplanned_events: omit", "line 1: unplanned_events: 'omit' is not known"),
    "no name": ("events:\n  - {description: a}", "line 2: events.0.name is missing. Add it."),
    "a name that is no text": ("events: [{name: no}]", "line 1: events.0.name: "),
    "a blank around a name": ("events: [{name: ' A'}]", 'name " A" is not a valid event name'),
    "a quote in a name": (
        "identify: {traits: [{name: 'a\"b'}]}",
        'line 1: identify.traits.0: name "a\\"b" is not a valid property name',
    ),
    "traits of a page": ("page: {traits: []}", "line 1: page.traits: unknown key 'traits'"),
    "an event twice": ("events: [{name: A}, {name: A}]", "duplicate event 'A'; keep one."),
    "a property twice": (
        "events:\n  - name: A\n    properties: [{name: a}, {name: a}]",
        "line 2: events.0: duplicate property 'a'; keep one.",
    ),
    "a property twice inside": (
        prop("properties: [{name: a}, {name: a}]"),
        "line 5: events.0.properties.1: duplicate property 'a'; keep one",
    ),
    "a pattern of a number": (
        prop("type: number, pattern: a"),
        "line 5: events.0.properties.1: pattern requires type string, but type is number.",
    ),
    "a minimum of a text": (prop("type: string, minimum: 1"), "minimum requires type number or integer"),
    "items of an object": (prop("type: object, items: {}"), "items requires type array, but type is object"),
    "properties of a text": (prop("type: string, properties: []"), "properties requires type object"),
    "a minimum above": (prop("minimum: 2, maximum: 1"), "minimum 2 is above maximum 1"),
    "a minimum that is no number": (prop("minimum: '1'"), "line 5: events.0.properties.1.minimum"),
    "a minimum without end": (prop("minimum: .inf"), "line 5: events.0.properties.1.minimum"),
    "Norway": (prop("type: string, enum: [SE, NO]"), "enum contains false, but type is string; quote it."),
    "a date": (prop("enum: [2026-01-01]"), "line 5: events.0.properties.1.enum.0"),
    "an empty enum": (prop("enum: []"), "line 5: events.0.properties.1.enum"),
    "look-ahead": (
        prop("pattern: 'a(?=b)'"),
        "line 5: events.0.properties.1: pattern a(?=b): (?=b is not supported by every warehouse: it is "
        "look-ahead.",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_an_error_has_its_line_and_key(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith("tracking_plan.yaml, line ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_plan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_plan(tmp_path / "tracking_plan.yaml")
