"""Compile the plan to a dbt macro, which the package's SQL is generated from."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from revetl.governance.tracking_plan.macro_file import MacroFile, Template, macro_of
from revetl.governance.tracking_plan.patterns import portable
from revetl.governance.tracking_plan.plan import (
    ACTIONS,
    PLAN_FILE,
    UNPLANNED_ACTIONS,
    MessageRules,
    TrackingPlan,
    read_plan,
)
from revetl.governance.tracking_plan.policy import BySource, Policy, is_template
from revetl.governance.tracking_plan.rules import (
    DocumentRules,
    Names,
    PlanRule,
    document_of,
    planned_events,
)

FORM, FORM_OF_POLICIES = 1, 2
"""Versions of the value that the macro `tracking_plan` returns; the package's macros check it. The second has
actions that depend on the source or the target."""


class CompiledPlan(MacroFile):
    """A project's `tracking_plan.yaml` and its compiled macro file."""

    source_name = PLAN_FILE
    macro_name = "tracking_plan"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.plan = read_plan(self.source)

    @property
    def text(self) -> str:
        return macro_text(self.plan)


def macro_text(plan: TrackingPlan) -> str:
    """Return the text of a plan's macro file."""
    return macro_of("tracking_plan", PLAN_FILE, compile_plan(plan))


def compile_plan(plan: TrackingPlan) -> dict[str, Any]:
    """Compile a plan to the value that the package's macros read: numbered documents with their rules.

    `at` is the index of a value in the `paths` of its document, from 1; 0 is the document itself. An action
    is a string, a `Template`, or `{all: ACTION, sources: {NAME: ACTION}}`.
    """
    entries: list[_Entry] = []
    for rules in plan.rules():
        document = document_of(rules)
        if not document.is_free:
            _enter(entries, document, rules, level=0)
    places = _places([entry.document for entry in entries])
    numbers = _Numbers(itertools.count(1), itertools.count(1))
    return {
        "form": FORM_OF_POLICIES if plan.sources or plan.has_templates else FORM,
        "hash": hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:16],
        "unplanned_events": _action(plan.unplanned_events_policy, ACTIONS),
        "events": planned_events(plan),
        "documents": [
            _compiled(entry, places_of, numbers) for entry, places_of in zip(entries, places, strict=True)
        ],
    }


@dataclass
class _Entry:
    """A numbered document, with the numbers of its arrays' elements."""

    number: int
    level: int
    document: DocumentRules
    rules: MessageRules
    elements: list[int] = field(default_factory=list)


class _Numbers(NamedTuple):
    rules: Iterator[int]
    closed: Iterator[int]


def _enter(entries: list[_Entry], document: DocumentRules, rules: MessageRules, level: int) -> int:
    """Add a document and its nested ones. Returns its number."""
    entry = _Entry(len(entries) + 1, level, document, rules)
    entries.append(entry)
    for array in document.arrays:
        entry.elements.append(_enter(entries, array.element, rules, level + 1))
    return entry.number


def _places(documents: Sequence[DocumentRules]) -> list[dict[Names, int]]:
    """Assign an index to each value that is read, per document. Values of the same types share indexes across
    documents, so that the type of an index is checked once, not once per document."""
    kinds: list[dict[Names, tuple[Any, int]]] = []
    for document in documents:
        types = {rule.names: rule.argument for rule in document.rules if rule.name == "type"}
        seen: Counter[Any] = Counter()
        kinds.append({})
        for names in _looked_at(document):
            kind = types.get(names, ())
            kinds[-1][names] = (kind, seen[kind])
            seen[kind] += 1
    # Most common first, because a document without the value has a gap at its index.
    used = Counter(kind for of_document in kinds for kind in of_document.values())
    places = {kind: place for place, (kind, _) in enumerate(used.most_common(), 1)}
    return [{names: places[kind] for names, kind in of_document.items()} for of_document in kinds]


def _looked_at(document: DocumentRules) -> list[Names]:
    """Return the paths that are read, without duplicates: of values with rules, of objects with required
    properties, and of planned properties of closed objects, to distinguish them from unplanned ones."""
    names = [rule.names for rule in document.rules]
    names += [rule.names[:-1] for rule in document.rules if rule.name == "required"]
    for closed in document.closed:
        names += [closed.names, *((*closed.names, name) for name in closed.planned)]
    return [each for each in dict.fromkeys(names) if each]


def _compiled(entry: _Entry, places: Mapping[Names, int], numbers: _Numbers) -> dict[str, Any]:
    paths: list[list[str] | None] = [None] * max(places.values(), default=0)
    for names, place in places.items():
        paths[place - 1] = list(names)
    at = {(): 0, **places}
    document, rules = entry.document, entry.rules
    return {
        "number": entry.number,
        "level": entry.level,
        "type": rules.message_type,
        "event": rules.event,
        "paths": paths,
        "rules": [
            {
                "number": next(numbers.rules),
                "rule": rule.name,
                "at": at[rule.names],
                "path": rule.path,
                "expected": rule.expected,
                "action": _action(rules.on_violation, ACTIONS),
                **({"within": at[rule.names[:-1]]} if rule.name == "required" else _argument(rule)),
            }
            for rule in document.rules
        ],
        "closed": [
            {
                "number": next(numbers.closed),
                "at": at[closed.names],
                "path": closed.path,
                "names": list(closed.planned),
                "action": _action(rules.unplanned_properties, UNPLANNED_ACTIONS),
            }
            for closed in document.closed
        ],
        "arrays": [
            {"names": list(array.names), "path": array.path, "element": element}
            for array, element in zip(document.arrays, entry.elements, strict=True)
        ],
    }


def _action(policy: Policy, valid: tuple[str, ...]) -> Any:
    if isinstance(policy, BySource):
        sources = {name: _action(action, valid) for name, action in policy.sources}
        return {"all": _action(policy.default, valid), "sources": sources}
    return Template(policy, valid) if is_template(policy) else policy


def _argument(rule: PlanRule) -> dict[str, Any]:
    match rule.name:
        case "type":
            return {"types": list(rule.argument)}
        case "minimum" | "maximum":
            return {"limit": _number(rule.argument)}
        case "pattern":
            return {"pattern": portable(rule.argument)}
        case "enum":
            numbers = [each for each in rule.argument if _is_number(each)]
            strings = [each for each in rule.argument if isinstance(each, str)]
            words = [json.dumps(each) for each in rule.argument if each is None or isinstance(each, bool)]
            return {"strings": strings, "numbers": [_number(each) for each in numbers], "words": words}
        case _:
            return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    """Format a double-precision number as a literal that every engine parses."""
    text = repr(float(value)).removesuffix(".0")
    return text if "e" in text else f"{text}e0"
