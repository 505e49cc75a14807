"""Read and check `tracking_plan.yaml`: the planned events and their properties.

Every error names the file, the line and the key, and says what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from revetl.config.base import ConfigModel, read_checked
from revetl.errors import UsageError, nearest
from revetl.governance.tracking_plan.patterns import portable
from revetl.governance.tracking_plan.policy import (
    Policy,
    Resolve,
    checked_action,
    is_template,
    policy_of,
)

PLAN_FILE = "tracking_plan.yaml"
DOCUMENTS = {
    "track": "properties",
    "identify": "traits",
    "group": "traits",
    "page": "properties",
    "screen": "properties",
}
"""The message types of a plan, and the field of each that it describes."""

ACTIONS = ("block", "flag", "allow")
UNPLANNED_ACTIONS = ("block", "omit", "flag", "allow")
Action = Annotated[str, BeforeValidator(lambda value: checked_action(value, ACTIONS))]
UnplannedAction = Annotated[str, BeforeValidator(lambda value: checked_action(value, UNPLANNED_ACTIONS))]
"""An action, or a template that resolves to one for the dbt target (see `policy`)."""
Type = Literal["string", "number", "integer", "boolean", "object", "array", "null", "any"]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Number = StrictInt | Finite
Scalar = StrictBool | StrictStr | StrictInt | Finite | None
TYPES: tuple[str, ...] = get_args(Type)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _types(value: object) -> object:
    """Parse one type or a list of types. YAML reads `null` as None."""
    given = value if isinstance(value, list | tuple) else [value]
    found = tuple("null" if each is None else each for each in given)
    for each in found:
        if each not in TYPES:
            raise ValueError(f"'{each}' is not known. {nearest(str(each), TYPES)}")
    return found


class Value(ConfigModel):
    """Rules for a value. `properties` are those of an object; `items` are the rules for array elements."""

    description: str | None = None
    type: Annotated[tuple[Type, ...], BeforeValidator(_types), Field(min_length=1)] = ("any",)
    enum: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    pattern: StrictStr | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    properties: tuple[Property, ...] | None = None
    items: Value | None = None

    def may_be(self, *types: str) -> bool:
        """Whether the value may have one of these types."""
        return bool({*types, "any"} & set(self.type))

    @property
    def types(self) -> tuple[str, ...]:
        """The types to check; empty for any type."""
        return () if "any" in self.type else self.type

    @model_validator(mode="after")
    def _agrees(self) -> Value:
        if wrong := [*self._misplaced(), *self._wrong_values(), *_twice(self.properties or ())]:
            raise ValueError("\n".join(wrong))
        return self

    def _misplaced(self) -> Iterator[str]:
        """Yield errors for rules that don't apply to the type."""
        of_types: dict[str, tuple[str, ...]] = {
            "pattern": ("string",),
            "minimum": ("number", "integer"),
            "maximum": ("number", "integer"),
            "properties": ("object",),
            "items": ("array",),
        }
        for key, types in of_types.items():
            if getattr(self, key) is not None and not self.may_be(*types):
                yield f"{key} requires type {' or '.join(types)}, but type is {' or '.join(self.type)}"

    def _wrong_values(self) -> Iterator[str]:
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            yield f"minimum {self.minimum} is above maximum {self.maximum}"
        for each in self.enum or ():
            if self.types and not is_of(each, self.types):
                hint = "; quote it" if "string" in self.types else ""
                yield f"enum contains {json.dumps(each)}, but type is {' or '.join(self.type)}{hint}"
            elif isinstance(each, str) and _CONTROL.search(each):
                yield f"enum contains {json.dumps(each)}, which has a control character"
        if self.pattern is not None:
            try:
                portable(self.pattern)
            except ValueError as error:
                yield f"pattern {self.pattern}: {error}"


class Property(Value):
    """A named property or trait."""

    name: StrictStr
    required: StrictBool = False

    @model_validator(mode="after")
    def _has_a_name(self) -> Property:
        if not self.name or _CONTROL.search(self.name) or '"' in self.name or "\\" in self.name:
            raise ValueError(
                f"name {json.dumps(self.name)} is not a valid property name; it must not be empty or contain "
                '", \\ or a control character'
            )
        return self


class _Planned(ConfigModel):
    """Common keys of planned events and message types. If `on_violation` or `unplanned_properties` is None,
    the source's applies, else the plan's."""

    description: str | None = None
    on_violation: Action | None = None
    unplanned_properties: UnplannedAction | None = None

    @model_validator(mode="after")
    def _names_each_once(self) -> _Planned:
        for key in ("properties", "traits"):
            if wrong := list(_twice(getattr(self, key, ()))):
                raise ValueError("\n".join(wrong))
        return self


class Event(_Planned):
    """A track event, by name."""

    name: StrictStr
    properties: tuple[Property, ...] = ()

    @model_validator(mode="after")
    def _has_a_name(self) -> Event:
        if not self.name or self.name != self.name.strip() or _CONTROL.search(self.name):
            raise ValueError(
                f"name {json.dumps(self.name)} is not a valid event name; it must not be empty, start or end "
                "with whitespace, or contain a control character"
            )
        return self


class Views(_Planned):
    """Page or screen messages."""

    properties: tuple[Property, ...] = ()


class Traits(_Planned):
    """Identify or group messages."""

    traits: tuple[Property, ...] = ()


class SourcePolicy(ConfigModel):
    """Actions for messages of one source, with the plan's as defaults. `events` overrides `on_violation` of
    events (and of `identify`, `group`, `page`, `screen`) for this source."""

    on_violation: Action | None = None
    unplanned_events: Action | None = None
    unplanned_properties: UnplannedAction | None = None
    events: Mapping[str, Action] = {}


@dataclass(frozen=True)
class MessageRules:
    """The rules for messages of a type (and event, for track), with the plan's defaults filled in."""

    message_type: str
    event: str | None
    description: str | None
    properties: tuple[Property, ...]
    on_violation: Policy
    unplanned_properties: Policy

    @property
    def document(self) -> str:
        """The field of the message that the rules describe."""
        return DOCUMENTS[self.message_type]

    @property
    def name(self) -> str:
        """The name of the event, or else the message type."""
        return self.event or self.message_type


class TrackingPlan(ConfigModel):
    """A tracking plan. docs/how-to/tracking-plan.md documents the keys."""

    events: tuple[Event, ...] = ()
    identify: Traits | None = None
    group: Traits | None = None
    page: Views | None = None
    screen: Views | None = None
    on_violation: Action = "flag"
    unplanned_events: Action = "allow"
    unplanned_properties: UnplannedAction = "allow"
    sources: Mapping[str, SourcePolicy] = {}

    @model_validator(mode="after")
    def _names_each_event_once(self) -> TrackingPlan:
        if wrong := list(_twice(self.events, "event")):
            raise ValueError("\n".join(wrong))
        return self

    @model_validator(mode="after")
    def _sources_name_what_is_planned(self) -> TrackingPlan:
        names = {event.name for event in self.events} | (set(DOCUMENTS) - {"track"})
        wrong = [
            f"sources.{source}.events: '{name}' is not in the plan. {nearest(name, names)}"
            for source, policy in self.sources.items()
            for name in policy.events
            if name not in names
        ]
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def unplanned_events_policy(self) -> Policy:
        """The policy for unplanned events."""
        of_sources = {name: source.unplanned_events for name, source in self.sources.items()}
        return policy_of(self.unplanned_events, of_sources)

    @property
    def has_templates(self) -> bool:
        """Whether any action depends on the target."""
        policies = [self, *self._planned().values(), *self.sources.values()]
        keys = ("on_violation", "unplanned_events", "unplanned_properties")
        found = [getattr(each, key, None) for each in policies for key in keys]
        found += [action for source in self.sources.values() for action in source.events.values()]
        return any(is_template(action) for action in found if action is not None)

    def resolved(self, resolve: Resolve) -> TrackingPlan:
        """Return the plan with its templates resolved. Raises what `resolve` raises."""

        def decided(each: ConfigModel, place: str) -> dict[str, Any]:
            valid = {"on_violation": ACTIONS, "unplanned_events": ACTIONS}
            return {
                key: resolve(value, f"{PLAN_FILE}: {place}{key}", valid.get(key, UNPLANNED_ACTIONS))
                for key in ("on_violation", "unplanned_events", "unplanned_properties")
                if (value := getattr(each, key, None)) is not None
            }

        made: dict[str, Any] = {
            place: each.model_copy(update=decided(each, f"{place}."))
            for place, each in self._planned().items()
            if not place.startswith("events.")
        }
        made["events"] = tuple(
            event.model_copy(update=decided(event, f"events.{index}."))
            for index, event in enumerate(self.events)
        )
        made["sources"] = {
            name: source.model_copy(
                update={
                    **decided(source, f"sources.{name}."),
                    "events": {
                        event: resolve(action, f"{PLAN_FILE}: sources.{name}.events.{event}", ACTIONS)
                        for event, action in source.events.items()
                    },
                }
            )
            for name, source in self.sources.items()
        }
        return self.model_copy(update={**decided(self, ""), **made})

    def _planned(self) -> dict[str, _Planned]:
        """Return planned events and message types by their path in the plan."""
        found: dict[str, _Planned] = {f"events.{index}": each for index, each in enumerate(self.events)}
        types = {name: getattr(self, name) for name in DOCUMENTS if name != "track"}
        return found | {name: each for name, each in types.items() if each is not None}

    def rules(self) -> Iterator[MessageRules]:
        """Yield the rules of every event and of the other planned message types."""
        for event in self.events:
            yield self._rules("track", event, event.properties, event.name)
        for message_type, traits in (("identify", self.identify), ("group", self.group)):
            if traits is not None:
                yield self._rules(message_type, traits, traits.traits)
        for message_type, views in (("page", self.page), ("screen", self.screen)):
            if views is not None:
                yield self._rules(message_type, views, views.properties)

    def _rules(
        self, message_type: str, planned: _Planned, properties: tuple[Property, ...], event: str | None = None
    ) -> MessageRules:
        return MessageRules(
            message_type,
            event,
            planned.description,
            properties,
            self._on_violation(event or message_type, planned),
            planned.unplanned_properties
            or policy_of(
                self.unplanned_properties,
                {name: source.unplanned_properties for name, source in self.sources.items()},
            ),
        )

    def _on_violation(self, name: str, planned: _Planned) -> Policy:
        own = planned.on_violation
        of_sources = {
            source: policy.events.get(name) or (policy.on_violation if own is None else None)
            for source, policy in self.sources.items()
        }
        return policy_of(own or self.on_violation, of_sources)


def read_plan(path: Path) -> TrackingPlan:
    """Read the plan in a file. Raises UsageError with the file, the line, the key and the expectation."""
    if not path.is_file():
        raise UsageError(
            f"{path}: no such file. Create a plan there, or import one: "
            f"revetl protocols import FILE > {PLAN_FILE}"
        )
    return read_checked(TrackingPlan, path)


def is_of(value: object, types: tuple[str, ...]) -> bool:
    """Whether a JSON value has one of these types. 1.0 is an integer, as in JSON Schema."""
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int | float):
        whole = isinstance(value, int) or value.is_integer()
        return "number" in types or ("integer" in types and whole)
    names = {str: "string", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value)) in types


def _twice(named: tuple[Property | Event, ...], word: str = "property") -> Iterator[str]:
    names = [each.name for each in named]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"duplicate {word} '{name}'; keep one"
