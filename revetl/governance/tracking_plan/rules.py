"""Flatten a plan into single rules per document, each with its path and expectation.

A document is the properties or traits of a message, or one element of an array in them. Warehouses unnest
arrays to rows, so an array's element is a separate document, and the paths of its rules are relative to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from revetl.governance.tracking_plan.plan import (
    MessageRules,
    Property,
    TrackingPlan,
    Value,
)
from revetl.governance.tracking_plan.policy import is_allowed

Names = tuple[str, ...]
LONGEST_SHOWN = 200
"""The maximum length of a value, and of an expectation, in a violation."""


@dataclass(frozen=True)
class PlanRule:
    """One rule. `names` is the path from the document to the value; `path` is its text, to append to the
    document's own path."""

    name: str
    names: Names
    path: str
    argument: Any
    expected: str


@dataclass(frozen=True)
class ClosedObject:
    """An object that may only have its planned properties."""

    names: Names
    path: str
    planned: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """An array whose elements are documents."""

    names: Names
    path: str
    element: DocumentRules


@dataclass
class DocumentRules:
    """The rules for a message's document or an array's element."""

    is_element: bool
    rules: list[PlanRule] = field(default_factory=list)
    closed: list[ClosedObject] = field(default_factory=list)
    arrays: list[Array] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether there are no rules."""
        return not (self.rules or self.closed or self.arrays)


def document_of(rules: MessageRules) -> DocumentRules:
    """Flatten the rules for messages of one event or type."""
    maker = _Maker(DocumentRules(is_element=False), closes=not is_allowed(rules.unplanned_properties))
    if not is_allowed(rules.on_violation):
        maker.document.rules.append(PlanRule("type", (), "", ("object",), expected("type", ("object",))))
    maker.object((), rules.properties)
    if is_allowed(rules.on_violation):
        _forget_rules(maker.document)
    return maker.document


def planned_events(plan: TrackingPlan) -> list[str]:
    """Return the names of the planned events."""
    return [event.name for event in plan.events]


def expected(rule: str, argument: Any) -> str:
    """Describe what a rule expects."""
    match rule:
        case "required" | "type":
            words = " or ".join(argument) or "any value"
        case "minimum" | "maximum":
            words = f"at {'least' if rule == 'minimum' else 'most'} {json.dumps(argument)}"
        case "enum":
            words = "one of " + ", ".join(json.dumps(each, ensure_ascii=False) for each in argument)
        case "pattern":
            words = f"to match {argument}"
        case _:
            words = "no such property" if rule == "unplanned_property" else "a planned event"
    return words[:LONGEST_SHOWN]


def found(value: object) -> str:
    """Format a value as JSON; an object or array only by its type."""
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "array"
    return json.dumps(value, ensure_ascii=False)[:LONGEST_SHOWN]


def path_of(steps: Sequence[str | int], *, after: bool = False) -> str:
    """Format names and indexes as a path: `products[1].price`. With `after`, it begins with a dot."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif re.search(r"[.\[\]]", step):
            path += f'["{step}"]'
        else:
            path += f".{step}" if path or after else step
    return path


class _Maker:
    """Collects the rules of one document."""

    def __init__(self, document: DocumentRules, *, closes: bool) -> None:
        self.document = document
        self.closes = closes

    def object(self, names: Names, properties: tuple[Property, ...]) -> None:
        """Add the rules of an object with planned properties."""
        for each in properties:
            inside = (*names, each.name)
            if each.required:
                self._add("required", inside, each.types)
            self.value(inside, each)
        if self.closes:
            planned = tuple(each.name for each in properties)
            self.document.closed.append(ClosedObject(names, self._path(names), planned))

    def value(self, names: Names, value: Value) -> None:
        """Add the rules of a value that is present."""
        arguments: dict[str, Any] = {
            "type": value.types or None,
            "enum": value.enum,
            "pattern": value.pattern,
            "minimum": value.minimum,
            "maximum": value.maximum,
        }
        for rule, argument in arguments.items():
            if argument is not None:
                self._add(rule, names, argument)
        if value.properties is not None:
            self.object(names, value.properties)
        if value.items is not None:
            element = _Maker(DocumentRules(is_element=True), closes=self.closes)
            element.value((), value.items)
            if not element.document.is_free:
                self.document.arrays.append(Array(names, self._path(names), element.document))

    def _add(self, rule: str, names: Names, argument: Any) -> None:
        self.document.rules.append(
            PlanRule(rule, names, self._path(names), argument, expected(rule, argument))
        )

    def _path(self, names: Names) -> str:
        return path_of(names, after=self.document.is_element)


def _forget_rules(document: DocumentRules) -> None:
    """Remove all rules except those on unplanned properties."""
    document.rules.clear()
    for array in document.arrays:
        _forget_rules(array.element)
    document.arrays[:] = [array for array in document.arrays if not array.element.is_free]
