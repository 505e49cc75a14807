"""Convert rules to and from JSON Schema (draft 7), one schema per event.

Parts of a schema that a plan doesn't support are collected in a list of `losses`.
Source: json-schema.org, draft-07, validation keywords.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from revetl.errors import UsageError
from revetl.governance.tracking_plan.patterns import portable
from revetl.governance.tracking_plan.plan import (
    DOCUMENTS,
    TYPES,
    MessageRules,
    Property,
    TrackingPlan,
    Value,
)
from revetl.governance.tracking_plan.policy import is_allowed

DRAFT = "http://json-schema.org/draft-07/schema#"
Losses = list[str]

_SAYS_NOTHING = {"$schema", "$id", "$comment", "id", "title", "description", "default", "examples", "labels"}
_READ = {"type", "enum", "const", "pattern", "minimum", "maximum", "properties", "required", "items"}
_PLANNED_TYPES = [name for name in TYPES if name != "any"]


def schema_of(rules: MessageRules) -> dict[str, Any]:
    """Return the schema of the properties or traits of an event or message type."""
    closes = not is_allowed(rules.unplanned_properties)
    head: dict[str, Any] = {"$schema": DRAFT, "title": rules.name}
    if rules.description:
        head["description"] = rules.description
    return {**head, "type": "object", **_object(rules.properties, closes=closes)}


def message_schema(rules: MessageRules) -> dict[str, Any]:
    """Return the schema of a message whose properties or traits follow the rules."""
    inside = schema_of(rules)
    head = {key: inside.pop(key) for key in ("$schema", "title", "description") if key in inside}
    schema = {**head, "type": "object", "properties": {rules.document: inside}}
    return {**schema, "required": [rules.document]} if inside.get("required") else schema


def plan_schema(plan: TrackingPlan) -> dict[str, Any]:
    """Return one schema for all messages, with an if-then case per event or message type."""
    cases: list[Any] = []
    for rules in plan.rules():
        if_so: dict[str, Any] = {"type": {"const": rules.message_type}}
        if rules.event is not None:
            if_so["event"] = {"const": rules.event}
        then = message_schema(rules)
        for key in ("$schema", "title"):
            then.pop(key)
        cases.append({"if": {"properties": if_so, "required": list(if_so)}, "then": then})
    if not is_allowed(plan.unplanned_events_policy):
        tracked = {"properties": {"type": {"const": "track"}}, "required": ["type"]}
        names = {"properties": {"event": {"enum": [event.name for event in plan.events]}}}
        cases.append({"if": tracked, "then": names})
    # JSON Schema requires at least one item in allOf.
    return {"$schema": DRAFT, "title": "Tracking plan", "type": "object", "allOf": cases or [True]}


def _object(properties: tuple[Property, ...], *, closes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"properties": {each.name: _value(each, closes=closes) for each in properties}}
    if required := [each.name for each in properties if each.required]:
        found["required"] = required
    if closes:
        found["additionalProperties"] = False
    return found


def _value(value: Value, *, closes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if value.description:
        found["description"] = value.description
    if value.types:
        found["type"] = value.types[0] if len(value.types) == 1 else list(value.types)
    for key in ("enum", "pattern", "minimum", "maximum"):
        if (given := getattr(value, key)) is not None:
            found[key] = list(given) if key == "enum" else given
    if value.properties is not None:
        found |= _object(value.properties, closes=closes)
    if value.items is not None:
        found["items"] = _value(value.items, closes=closes)
    return found


def planned_value(schema: Any, place: str, losses: Losses) -> dict[str, Any]:
    """Convert a schema to a value in the form of the plan. Unsupported parts are added to `losses`."""
    if not isinstance(schema, Mapping):
        losses.append(f"{place}: {json.dumps(schema)} instead of a schema")
        return {}
    losses += [f"{place}: {key}" for key in schema if _is_lost(key, schema)]
    found: dict[str, Any] = {}
    if isinstance(schema.get("description"), str) and schema["description"]:
        found["description"] = schema["description"]
    if types := _types(schema.get("type"), place, losses):
        found["type"] = types[0] if len(types) == 1 else types
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        if any(isinstance(value, dict | list) for value in values):
            losses.append(f"{place}: an enum of objects or arrays")
        else:
            found["enum"] = values
    found |= {key: schema[key] for key in ("minimum", "maximum") if isinstance(schema.get(key), int | float)}
    if "pattern" in schema:
        try:
            portable(schema["pattern"])
            found["pattern"] = schema["pattern"]
        except ValueError as error:
            losses.append(f"{place}: pattern {schema['pattern']}: {error}")
    if "properties" in schema or "required" in schema:
        found["properties"] = planned_properties(schema, place, losses)
    items = schema.get("items")
    if isinstance(items, list):
        losses.append(f"{place}: items with one schema per index")
    elif items and (planned := planned_value(items, f"{place}[]", losses)):
        found["items"] = planned
    return found


def planned_properties(schema: Mapping[str, Any], place: str, losses: Losses) -> list[dict[str, Any]]:
    """Convert the schema of an object to properties in the form of the plan."""
    required = schema.get("required") or []
    properties = schema.get("properties") or {}
    found = []
    for name in dict.fromkeys([*properties, *required]):
        each = {"name": name, **planned_value(properties.get(name, {}), f"{place}.{name}", losses)}
        found.append({**each, "required": True} if name in required else each)
    return found


def planned_rules(schema: Any, place: str, document: str, losses: Losses) -> dict[str, Any]:
    """Convert the schema of properties or traits to the plan's entry for an event or message type."""
    if not isinstance(schema, Mapping):
        schema = {}
    known = {"type", "properties", "required", "additionalProperties"} | _SAYS_NOTHING
    losses += [f"{place}: {key}" for key in schema if key not in known]
    found: dict[str, Any] = {}
    if schema.get("additionalProperties") is False:
        found["unplanned_properties"] = "flag"
    elif isinstance(schema.get("additionalProperties"), Mapping):
        losses.append(f"{place}: additionalProperties with a schema")
    return {**found, document: planned_properties(schema, place, losses)}


def planned_plan(schema: Mapping[str, Any], names: str, losses: Losses) -> dict[str, Any]:
    """Convert a schema to a plan: one from `plan_schema`, one for an event's messages, or one for its
    properties. Raises UsageError if it doesn't name the event."""
    made: dict[str, Any] = {"events": []}
    for case in schema.get("allOf") or [{"then": schema}]:
        if not isinstance(case, Mapping):
            continue
        then = case.get("then") or {}
        asked = (case.get("if") or {}).get("properties") or {}
        inside = then.get("properties") or {}
        if list(inside) == ["event"]:
            made["unplanned_events"] = "flag"
            continue
        kind = str(_constant(asked.get("type") or inside.get("type")) or "track")
        if kind not in DOCUMENTS:
            losses.append(f"{kind}: message type not supported in a plan")
            continue
        document = DOCUMENTS[kind]
        is_message = isinstance(inside.get(document), Mapping) and "properties" in inside[document]
        event = _constant(asked.get("event") or inside.get("event")) or then.get("title")
        if kind == "track" and not event:
            raise UsageError(f"{names}: title is missing. Set the schema's title to the event's name.")
        found = planned_rules(inside[document] if is_message else then, str(event or kind), document, losses)
        head = {"name": event} if kind == "track" else {}
        if then.get("description"):
            head["description"] = then["description"]
        if kind == "track":
            made["events"].append({**head, **found})
        else:
            made[kind] = {**head, **found}
    return made


def _constant(schema: Any) -> Any:
    """Return the only string that a schema allows; None if there isn't exactly one."""
    if not isinstance(schema, Mapping):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum") or []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _is_lost(key: str, schema: Mapping[str, Any]) -> bool:
    if key == "additionalProperties":
        # A plan closes an event with all its objects, by one key of the event.
        return schema[key] not in (True, False)
    return key not in _READ | _SAYS_NOTHING


def _types(given: Any, place: str, losses: Losses) -> list[str]:
    types: Iterable[Any] = given if isinstance(given, list) else [given] if given is not None else []
    known = [each for each in types if each in _PLANNED_TYPES]
    losses += [f"{place}: type {each}" for each in types if each not in _PLANNED_TYPES]
    return known
