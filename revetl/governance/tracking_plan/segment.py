"""Segment's tracking plans in JSON: of its Config API (`rules.events`) and its Public API (a list of rules).

Sources: Segment's Public API, `GET /tracking-plans/{id}/rules`; its Config API, `tracking-plans`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from revetl.governance.tracking_plan.plan import DOCUMENTS, MessageRules, TrackingPlan
from revetl.governance.tracking_plan.schema import Losses, message_schema, planned_rules

Document = dict[str, Any]

_FOR_ALL = "rules for all message types"
_SAYS_NOTHING = {"$schema", "type", "properties", "required", "description", "title", "labels", "id", "$id"}


def exported(plan: TrackingPlan, losses: Losses) -> Document:
    """Export a plan in the form of the Config API: events, identify and group."""
    made: Document = {"events": []}
    for rules in plan.rules():
        if rules.message_type == "track":
            event: Document = {"name": rules.event, "rules": _schema(rules)}
            if rules.description:
                event["description"] = rules.description
            made["events"].append(event)
        elif rules.message_type in ("identify", "group"):
            made[rules.message_type] = _schema(rules)
        else:
            losses.append(f"{rules.name}: Segment's Config API has no rules for it")
    return {"display_name": "Tracking plan", "rules": made}


def exported_to_public_api(plan: TrackingPlan) -> Document:
    """Export a plan in the form of the Public API: a list of rules."""
    rules = [
        {"type": each.message_type.upper(), "key": each.event, "version": 1, "jsonSchema": _schema(each)}
        for each in plan.rules()
    ]
    return {"rules": rules}


def _schema(rules: MessageRules) -> Document:
    schema = message_schema(rules)
    schema.pop("title")
    schema["properties"] = {"context": {}, "traits": {}, "properties": {}} | schema["properties"]
    return schema


def is_plan(document: Document) -> bool:
    """Whether a document is a plan in either form."""
    return "rules" in _inside(document)


def imported(document: Document, losses: Losses) -> Document:
    """Import a plan in the form of tracking_plan.yaml."""
    rules = _inside(document)["rules"]
    made: Document = {"events": []}
    if isinstance(rules, Mapping):
        for event in rules.get("events") or []:
            _add(made, "track", event.get("name"), event, event.get("rules") or {}, losses)
        for kind in ("identify", "group", "page", "screen"):
            if _has_rules(schema := rules.get(kind) or {}):
                _add(made, kind, None, {}, schema, losses)
        if _has_rules(rules.get("global") or {}):
            losses.append(f"global: {_FOR_ALL}")
        losses += [key for key in ("identify_traits", "group_traits") if rules.get(key)]
        return made
    for rule in rules or []:
        kind = str(rule.get("type", "TRACK")).lower()
        if kind in DOCUMENTS:
            schema = rule.get("jsonSchema") or rule.get("json_schema") or {}
            _add(made, kind, rule.get("key"), rule, schema, losses)
        else:
            losses.append(f"{kind}: {_FOR_ALL}")
    return made


def _inside(document: Document) -> Document:
    """Unwrap API responses, which have the plan in `data` or `tracking_plan`."""
    for key in ("data", "tracking_plan", "trackingPlan"):
        if isinstance(document.get(key), Mapping):
            return _inside(document[key])
    return document


def _has_rules(schema: Mapping[str, Any]) -> bool:
    """Whether a schema has rules. Types without rules have an empty schema."""
    inside = schema.get("properties") or {}
    return bool(schema.get("required")) or any(inside.get(key) for key in ("properties", "traits", "context"))


def _add(
    made: Document, kind: str, event: Any, rule: Mapping[str, Any], schema: Mapping[str, Any], losses: Losses
) -> None:
    """Add the rules of an event or message type to the plan."""
    name = str(event if kind == "track" else kind)
    inside = schema.get("properties") or {}
    document = DOCUMENTS[kind]
    others = [key for key, each in inside.items() if key != document and set(each) - {"type", "description"}]
    losses += [f"{name}: rules for {key}" for key in others]
    losses += [f"{name}: {key}" for key in schema if key not in _SAYS_NOTHING]
    found: Document = {"name": event} if kind == "track" else {}
    if description := rule.get("description") or schema.get("description"):
        found["description"] = description
    found |= planned_rules(inside.get(document) or {}, name, document, losses)
    if kind == "track":
        made["events"].append(found)
    elif kind in made:
        losses.append(f"{name}: a second set of rules")
    else:
        made[kind] = found
