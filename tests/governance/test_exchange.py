"""Export and import of plans: supported parts round-trip, and others are reported as losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from revetl.errors import UsageError
from revetl.governance.tracking_plan import TrackingPlan
from revetl.governance.tracking_plan.exchange import export_plan, import_plan
from revetl.governance.tracking_plan.schema import plan_schema
from tests.governance.examples import PLAN, VALID, order, plan_of
from tests.governance.world import plans

FORMATS = ["segment", "segment-public-api", "rudderstack", "json-schema"]
WHOLE = (
    PLAN
    + """
  - name: Signed Up
    unplanned_properties: flag
    properties: [{name: plan, enum: [free, 1, null], required: true}]
identify: {traits: [{name: age, type: [integer, 'null'], description: Whole years.}]}
group: {traits: [{name: address, type: object, properties: [{name: city, type: string}]}]}
"""
)


def bring(folder: Path, *texts: str) -> tuple[TrackingPlan, list[str]]:
    """What is made of files."""
    files = []
    for number, text in enumerate(texts):
        files.append(folder / f"{number}.yaml")
        files[-1].write_text(text)
    made, losses = import_plan(files)
    return TrackingPlan.model_validate(yaml.safe_load(made)), losses


@pytest.mark.parametrize("kind", FORMATS)
def test_round_trip(tmp_path: Path, kind: str) -> None:
    text, losses = export_plan(plan_of(WHOLE), kind)
    assert losses == []
    assert bring(tmp_path, text) == (plan_of(WHOLE), [])
    text, losses = export_plan(TrackingPlan(), kind)
    assert (bring(tmp_path, text), losses) == ((TrackingPlan(), []), [])


def test_pages_are_not_in_segments_older_form(tmp_path: Path) -> None:
    plan = plan_of("page: {properties: [{name: url}]}")
    text, losses = export_plan(plan, "segment")
    assert losses == ["page: Segment's Config API has no rules for it"]
    for kind in FORMATS[1:]:
        text, losses = export_plan(plan, kind)
        assert (bring(tmp_path, text), losses) == ((plan, []), [])


def test_policies_are_reported_as_losses() -> None:
    plan = plan_of(
        """
        events: [{name: A, on_violation: block}, {name: B, unplanned_properties: omit}]
        unplanned_events: block
        """
    )
    told = ["A: on_violation: block", "B: unplanned_properties: omit; exported as violations"]
    for kind in FORMATS:
        _, losses = export_plan(plan, kind)
        assert losses == told if kind == "json-schema" else ["unplanned_events: block", *told]


@settings(max_examples=30)
@given(plan=plans())
def test_an_exported_schema_is_valid(plan: TrackingPlan) -> None:
    Draft7Validator.check_schema(plan_schema(plan))


def test_any_validator_can_use_the_schema() -> None:
    validator = Draft7Validator(plan_schema(plan_of(PLAN + "unplanned_events: flag\n")))
    assert validator.is_valid(order(VALID))
    assert not validator.is_valid(order({**VALID, "total": -1}))
    assert not validator.is_valid({"type": "track", "event": "Order Completed"})
    assert not validator.is_valid(order({}, event="Other"))
    assert validator.is_valid({"type": "page"})


def schema(**properties: Any) -> dict[str, Any]:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "context": {},
            "traits": {},
            "properties": {"type": "object", "properties": properties, "required": ["a", "b"]},
        },
    }


def test_segments_answers(tmp_path: Path) -> None:
    """As their two APIs give them, with what a plan here has no word for."""
    a = {"type": ["string", "null"], "pattern": "^x", "format": "email", "description": "", "maxLength": 9}
    older = {
        "name": "workspaces/w/tracking-plans/rs_1",
        "display_name": "Kicks",
        "rules": {
            "global": {"properties": {"context": {"required": ["ip"]}}},
            "events": [{"name": "Shoe Viewed", "version": 2, "description": "Seen.", "rules": schema(a=a)}],
            "identify": {"properties": {"traits": {"properties": {"age": {"type": "integer"}}}}},
            "group": {"properties": {"traits": {}}},
            "identify_traits": [],
        },
    }
    common = schema(a=a)
    common["properties"]["context"] = {"type": "object", "required": ["ip"]}
    newer = {
        "data": {
            "rules": [
                {"type": "TRACK", "key": "Shoe Viewed", "version": 1, "jsonSchema": common},
                {"type": "COMMON", "key": None, "jsonSchema": {"required": ["context"]}},
                {"type": "SCREEN", "key": None, "jsonSchema": {"properties": {"properties": {}}}},
            ]
        }
    }
    shoe = {
        "name": "Shoe Viewed",
        "properties": [
            {"name": "a", "type": ["string", "null"], "pattern": "^x", "required": True},
            {"name": "b", "required": True},
        ],
    }
    plan, losses = bring(tmp_path, json.dumps(older))
    assert plan == TrackingPlan.model_validate(
        {
            "events": [{**shoe, "description": "Seen."}],
            "identify": {"traits": [{"name": "age", "type": "integer"}]},
        }
    )
    assert losses == [
        "Shoe Viewed.a: format",
        "Shoe Viewed.a: maxLength",
        "global: rules for all message types",
    ]
    plan, losses = bring(tmp_path, json.dumps(newer))
    assert plan == TrackingPlan.model_validate({"events": [shoe], "screen": {}})
    assert losses == [
        "Shoe Viewed: rules for context",
        "Shoe Viewed.a: format",
        "Shoe Viewed.a: maxLength",
        "common: rules for all message types",
    ]


CATALOGUE = """
version: rudder/v1
kind: events
metadata: {name: shop}
spec:
  events:
    - {id: seen, name: Product Viewed, event_type: track, description: Seen.}
    - {id: who, event_type: identify}
---
version: rudder/v1
kind: properties
metadata: {name: shop}
spec:
  properties:
    - {id: sku, name: sku, type: string, config: {pattern: '^[A-Z]+$', min_length: 3}}
    - {id: price, name: price, types: [number, 'null'], config: {minimum: 0}}
    - {id: email, name: email, type: '#custom-type:email'}
    - {id: tags, name: tags, type: array, item_types: [string, integer]}
    - {id: lines, name: lines, type: array, item_type: object}
    - {id: address, name: address, type: object}
---
version: rudder/v1
kind: custom-types
metadata: {name: shop}
spec:
  types: [{id: email, name: Email, type: string, config: {pattern: '@', format: email}}]
"""

RULES = """
version: rudder/v1
kind: tracking-plan
metadata: {name: shop}
spec:
  id: shop
  display_name: Shop
  rules:
    - type: event_rule
      id: one
      event: '#event:seen'
      additional_properties: true
      properties:
        - {property: '#property:sku', required: true}
        - {property: '#property:price', required: false}
        - {property: '#property:tags', required: false}
        - property: '#property:lines'
          required: false
          properties: [{property: '#property:sku', required: false}]
        - property: '#property:address'
          required: false
          properties: [{property: '#property:email', required: true}]
      variants: [{type: discriminator}]
    - {type: event_rule, id: two, event: '#event:who', identity_section: traits}
"""


def test_rudderstacks_files(tmp_path: Path) -> None:
    sku = {"name": "sku", "type": "string", "pattern": "^[A-Z]+$"}
    plan, losses = bring(tmp_path, CATALOGUE, RULES)
    assert plan == TrackingPlan.model_validate(
        {
            "events": [
                {
                    "name": "Product Viewed",
                    "description": "Seen.",
                    "properties": [
                        {**sku, "required": True},
                        {"name": "price", "type": ["number", "null"], "minimum": 0},
                        {"name": "tags", "type": "array", "items": {"type": ["string", "integer"]}},
                        {"name": "lines", "type": "array", "items": {"type": "object", "properties": [sku]}},
                        {
                            "name": "address",
                            "type": "object",
                            "properties": [
                                {"name": "email", "type": "string", "pattern": "@", "required": True}
                            ],
                        },
                    ],
                }
            ],
            "identify": {"unplanned_properties": "flag"},
        }
    )
    assert losses == [
        "Product Viewed: variants",
        "Product Viewed.sku: minLength",
        "Product Viewed.lines.sku: minLength",
        "Product Viewed.address.email: format",
    ]


def test_rudderstacks_older_files(tmp_path: Path) -> None:
    plan, losses = bring(
        tmp_path,
        """
        {version: rudder/v0.1, kind: events, spec: {events: [{id: a, name: A, event_type: track}]}}
        """,
        """
        version: rudder/v0.1
        kind: properties
        spec: {properties: [{id: b, name: b, type: 'string, null', propConfig: {enum: [x]}},
                            {id: c, name: c, type: array, propConfig: {itemTypes: [number]}}]}
        """,
        """
        version: rudder/v0.1
        kind: tp
        spec:
          rules:
            - type: event_rule
              id: r
              event: {$ref: '#/events/shop/a', allow_unplanned: true}
              properties: [{$ref: '#/properties/shop/b', required: true}, {$ref: '#/properties/shop/c'}]
        """,
    )
    assert losses == []
    assert plan == plan_of(
        """
        events:
          - name: A
            properties:
              - {name: b, type: [string, null], enum: [x], required: true}
              - {name: c, type: array, items: {type: number}}
        """
    )


def test_a_plain_schema_by_its_title(tmp_path: Path) -> None:
    text = """
    title: Order Completed
    type: object
    properties:
      total: {type: number, exclusiveMinimum: 0}
      status: {const: paid}
      code: {type: string, pattern: '^(?!x)'}
      when: {$ref: '#/definitions/when'}
      lines: {type: array, items: [{type: string}]}
    additionalProperties: false
    """
    plan, losses = bring(tmp_path, text)
    assert plan == plan_of(
        """
        events:
          - name: Order Completed
            unplanned_properties: flag
            properties:
              - {name: total, type: number}
              - {name: status, enum: [paid]}
              - {name: code, type: string}
              - {name: when}
              - {name: lines, type: array}
        """
    )
    assert [loss.split(":")[0] for loss in losses] == [
        "Order Completed.total",
        "Order Completed.code",
        "Order Completed.when",
        "Order Completed.lines",
    ]


WRONG = {
    "nothing": ("", "0 documents"),
    "a text": ("hello", 'contains "hello" instead of a plan.'),
    "no plan": ("{a: 1}", "is not in a known format. Use a tracking plan of Segment"),
    "neither": ("{", "is neither valid JSON nor valid YAML."),
    "a schema of nobody": (
        "{properties: {a: {}}}",
        "title is missing. Set the schema's title to the",
    ),
    "an event that is elsewhere": (RULES, "#event:seen is not in any document of kind events."),
    "only a catalogue": (CATALOGUE, "0 documents of kind tracking-plan"),
    "two plans": ("properties: {}\n---\nproperties: {}", "2 documents, but only RudderStack plans"),
    "a name that cannot be": (json.dumps({"rules": [{"key": " A"}]}), 'name " A" is not a valid event name'),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_an_unsupported_file_is_an_error(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        bring(tmp_path, text)
    assert sentence in str(error.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        import_plan([tmp_path / "none.json"])
