"""RudderStack's tracking plans in the YAML of its CLI: a catalog of events and properties, and the plan.

Sources: RudderStack's YAML reference of data catalogs and tracking plans (rudder/v1), and the older form
(rudder/v0.1), which can also be imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from revetl.errors import UsageError
from revetl.governance.tracking_plan.plan import (
    DOCUMENTS,
    MessageRules,
    Property,
    TrackingPlan,
    Value,
)
from revetl.governance.tracking_plan.policy import is_allowed
from revetl.governance.tracking_plan.schema import Losses, planned_value

Document = dict[str, Any]

_VERSION = "rudder/v1"
_PLAN_KINDS = ("tracking-plan", "tp")
_CONFIG = ("enum", "pattern", "minimum", "maximum")


def exported(plan: TrackingPlan, losses: Losses) -> list[Document]:
    """Export a plan as documents: its events, its properties and the plan itself."""
    catalog = _Catalog(losses)
    events: list[Document] = []
    rules: list[Document] = []
    for each in plan.rules():
        number = _slug(each.name)
        event: Document = {"id": number, "event_type": each.message_type}
        if each.event is not None:
            event["name"] = each.event
        events.append(event | ({"description": each.description} if each.description else {}))
        rule: Document = {"type": "event_rule", "id": f"{number}_rule", "event": f"#event:{number}"}
        if each.message_type != "track":
            rule["identity_section"] = each.document
        rule["additional_properties"] = is_allowed(each.unplanned_properties)
        rule["properties"] = [catalog.reference(one, each, each.name) for one in each.properties]
        rules.append(rule)
    name = "tracking_plan"
    return [
        _document("events", name, {"events": events}),
        _document("properties", name, {"properties": list(catalog.properties.values())}),
        _document("tracking-plan", name, {"id": name, "display_name": "Tracking plan", "rules": rules}),
    ]


class _Catalog:
    """Properties by id. Properties with the same name and definition share an id."""

    def __init__(self, losses: Losses) -> None:
        self.properties: dict[str, Document] = {}
        self._losses = losses

    def reference(self, planned: Property, rules: MessageRules, place: str) -> Document:
        """Add a planned property and return its reference for a rule of the plan."""
        place = f"{place}.{planned.name}"
        found: Document = {
            "property": f"#property:{self._add(planned, place)}",
            "required": planned.required,
        }
        of_items = planned.items.properties if planned.items else None
        if planned.properties is not None and of_items is not None:
            self._losses.append(f"{place}: properties both of an object and of an array's objects")
        inside = planned.properties if planned.properties is not None else of_items
        if inside is not None:
            found["additional_properties"] = is_allowed(rules.unplanned_properties)
            found["properties"] = [self.reference(each, rules, place) for each in inside]
        return found

    def _add(self, planned: Property, place: str) -> str:
        made: Document = {"name": planned.name}
        if planned.description:
            made["description"] = planned.description
        made |= _typed(planned.types, "type")
        if planned.items is not None:
            made |= _typed(planned.items.types, "item_type")
            self._tell_items(planned.items, f"{place}[]")
        config = {key: getattr(planned, key) for key in _CONFIG if getattr(planned, key) is not None}
        if config:
            made["config"] = {key: list(value) if key == "enum" else value for key, value in config.items()}
        wanted = number = _slug(planned.name)
        attempt = 1
        while number in self.properties and self.properties[number] != {"id": number, **made}:
            attempt += 1
            number = f"{wanted}_{attempt}"
        self.properties[number] = {"id": number, **made}
        return number

    def _tell_items(self, items: Value, place: str) -> None:
        self._losses += [f"{place}: {key}" for key in _CONFIG if getattr(items, key) is not None]
        if items.items is not None:
            self._losses.append(f"{place}: items")


def _typed(types: Sequence[str], key: str) -> Document:
    if not types:
        return {}
    return {key: types[0]} if len(types) == 1 else {f"{key}s": list(types)}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "_"


def _document(kind: str, name: str, spec: Document) -> Document:
    return {"version": _VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def imported(documents: Sequence[Document], names: str, losses: Losses) -> Document:
    """Import a plan in the form of tracking_plan.yaml. Raises UsageError if the documents don't contain an
    event or property that it references."""
    reader = _Reader(documents, names, losses)
    made: Document = {"events": []}
    plans = [document for document in documents if document.get("kind") in _PLAN_KINDS]
    if len(plans) != 1:
        raise UsageError(
            f"{names}: has {len(plans)} documents of kind tracking-plan. Import exactly one, with its events."
        )
    for rule in plans[0].get("spec", {}).get("rules") or []:
        reader.add(made, rule)
    return made


class _Reader:
    def __init__(self, documents: Sequence[Document], names: str, losses: Losses) -> None:
        self._names = names
        self._losses = losses
        self._known: dict[tuple[str, str], Document] = {}
        for kind, key in (("events", "events"), ("properties", "properties"), ("custom-types", "types")):
            for document in documents:
                if document.get("kind") == kind:
                    for each in document.get("spec", {}).get(key) or []:
                        self._known[kind, str(each["id"])] = each

    def add(self, made: Document, rule: Mapping[str, Any]) -> None:
        """Add a rule of the plan."""
        given = rule.get("event") or {}
        older = given if isinstance(given, Mapping) else {}
        event = self._of("events", older.get("$ref") or given)
        kind = event.get("event_type", "track")
        name = event.get("name") if kind == "track" else kind
        known = {"type", "id", "event", "properties", "additional_properties", "identity_section"}
        self._losses += [f"{name}: {key}" for key in rule if key not in known]
        if kind not in DOCUMENTS:
            self._losses.append(f"{name}: message type not supported in a plan")
            return
        found: Document = {"name": name} if kind == "track" else {}
        if event.get("description"):
            found["description"] = event["description"]
        if not (rule.get("additional_properties") or older.get("allow_unplanned")):
            found["unplanned_properties"] = "flag"
        found[DOCUMENTS[kind]] = [self._property(each, str(name)) for each in rule.get("properties") or []]
        if kind == "track":
            made["events"].append(found)
        else:
            made[kind] = found

    def _property(self, given: Mapping[str, Any], place: str) -> Document:
        known = self._of("properties", given.get("property") or given.get("$ref"))
        place = f"{place}.{known['name']}"
        made: Document = {"name": known["name"], **self._value(known, place)}
        if given.get("required"):
            made["required"] = True
        if inside := given.get("properties"):
            properties = [self._property(each, place) for each in inside]
            if made.get("type") == "array":
                made["items"] = {**made.get("items", {}), "properties": properties}
            else:
                made["properties"] = properties
        return made

    def _value(self, known: Mapping[str, Any], place: str) -> Document:
        """Convert a property's entry in the catalog, through JSON Schema."""
        given = known.get("config") or known.get("propConfig") or {}
        schema: Document = {_camel(key): each for key, each in given.items()}
        if known.get("description"):
            schema["description"] = known["description"]
        types = self._types(known.get("types") or known.get("type"), schema, place)
        if types:
            schema["type"] = types
        of_items = known.get("item_types") or known.get("item_type") or schema.pop("itemTypes", None)
        if of_items:
            items: Document = {}
            items |= {"type": found} if (found := self._types(of_items, items, f"{place}[]")) else {}
            schema["items"] = items
        return planned_value(schema, place, self._losses)

    def _types(self, given: Any, schema: Document, place: str) -> list[str]:
        """Resolve types by name. A custom type adds its configuration to the schema."""
        listed = given if isinstance(given, list) else [each.strip() for each in str(given or "").split(",")]
        found = []
        for each in filter(None, listed):
            if not str(each).startswith("#"):
                found.append(str(each))
                continue
            custom = self._of("custom-types", each)
            schema |= {_camel(key): value for key, value in (custom.get("config") or {}).items()}
            found.append(str(custom.get("type")))
            self._losses += [
                f"{place}: {key} of {each}" for key in ("properties", "variants") if custom.get(key)
            ]
        return found

    def _of(self, kind: str, reference: Any) -> Document:
        """Resolve a reference: `#event:id` or `#/events/group/id`."""
        number = re.sub(r"^#(/[^/]+/[^/]+/|[a-z-]+:)", "", str(reference))
        try:
            return self._known[kind, number]
        except KeyError:
            raise UsageError(
                f"{self._names}: {reference} is not in any document of kind {kind}. Include the files with "
                "the events and properties."
            ) from None


def _camel(key: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), key)
