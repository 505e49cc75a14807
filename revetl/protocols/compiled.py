"""The plan as a dbt macro: what the package's SQL is made of.

dbt looks for `default__tracking_plan` in the root project before it looks in the package, so the file that is
written in the project stands in the place of the package's own, which has an empty plan.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from revetl.config import read_yaml
from revetl.errors import UsageError
from revetl.protocols.patterns import portable
from revetl.protocols.plan import PLAN_FILE, Rules, TrackingPlan, read_plan
from revetl.protocols.rules import Document, Names, Rule, document_of, planned_events

FORM = 1
"""The form of what `tracking_plan` returns; the package's macros know which they read."""

MACRO_FILE = "tracking_plan.sql"


class CompiledPlan:
    """`tracking_plan.yaml` of a project, and the macro file made of it."""

    def __init__(self, root: Path) -> None:
        self.source = root / PLAN_FILE
        project = read_yaml(root / "dbt_project.yml") or {}
        folders = project.get("macro-paths") or ["macros"]
        self.shown = Path(folders[0]) / MACRO_FILE
        self.path = root / self.shown
        self.plan = read_plan(self.source)

    @property
    def text(self) -> str:
        """What the macro file has to say."""
        return macro_text(self.plan)

    @property
    def is_current(self) -> bool:
        """Whether the macro file says it."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8") == self.text

    @property
    def is_old(self) -> str:
        """The sentence for a macro file that does not."""
        return f"{self.shown} is not as {PLAN_FILE} is. Run `revetl protocols compile`."

    def write(self) -> bool:
        """Write the macro file where it has to change; gives whether it had to. Raises UsageError where there
        is another file in its place."""
        if self.is_current:
            return False
        if self.path.is_file() and "default__tracking_plan()" not in self.path.read_text(encoding="utf-8"):
            raise UsageError(
                f"{self.shown}: is there and was not written by revetl. Give it another name, for the plan's "
                "macro is to be there."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text, encoding="utf-8")
        return True


def plan_errors(root: Path) -> list[str]:
    """What is wrong with the plan of a project, one sentence each; none where it has no plan."""
    if not (root / PLAN_FILE).is_file():
        return []
    try:
        compiled = CompiledPlan(root)
    except UsageError as error:
        return [str(error)]
    return [] if compiled.is_current else [compiled.is_old]


def macro_text(plan: TrackingPlan) -> str:
    """The macro file of a plan."""
    compiled = compile_plan(plan)
    return (
        f"{{# Written by `revetl protocols compile` from {PLAN_FILE}: change that, and run it again. #}}\n"
        "{% macro default__tracking_plan() -%}\n"
        f"    {{{{ return({_literal(compiled, 1)}) }}}}\n"
        "{%- endmacro %}\n"
    )


def compile_plan(plan: TrackingPlan) -> dict[str, Any]:
    """The plan as the package's macros read it: every document by a number, with its rules.

    `at` is the place of a value among the `paths` that are read of a document, from 1; 0 is the document.
    """
    entries: list[_Entry] = []
    for rules in plan.rules():
        document = document_of(rules)
        if not document.is_free:
            _enter(entries, document, rules, level=0)
    places = _places([entry.document for entry in entries])
    numbers = _Numbers(itertools.count(1), itertools.count(1))
    return {
        "form": FORM,
        "hash": hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:16],
        "unplanned_events": plan.unplanned_events,
        "events": planned_events(plan),
        "documents": [
            _compiled(entry, places_of, numbers) for entry, places_of in zip(entries, places, strict=True)
        ],
    }


@dataclass
class _Entry:
    """A document by its number, and the numbers of its arrays' elements."""

    number: int
    level: int
    document: Document
    rules: Rules
    elements: list[int] = field(default_factory=list)


class _Numbers(NamedTuple):
    rules: Iterator[int]
    closed: Iterator[int]


def _enter(entries: list[_Entry], document: Document, rules: Rules, level: int) -> int:
    """Add a document, and those inside of it; gives its number."""
    entry = _Entry(len(entries) + 1, level, document, rules)
    entries.append(entry)
    for array in document.arrays:
        entry.elements.append(_enter(entries, array.element, rules, level + 1))
    return entry.number


def _places(documents: Sequence[Document]) -> list[dict[Names, int]]:
    """A place for each value that is looked at, by document. Values of the same types share their places with
    those of other documents, so that the types of a place are judged once and not once a document."""
    kinds: list[dict[Names, tuple[Any, int]]] = []
    for document in documents:
        types = {rule.names: rule.argument for rule in document.rules if rule.name == "type"}
        seen: Counter[Any] = Counter()
        kinds.append({})
        for names in _looked_at(document):
            kind = types.get(names, ())
            kinds[-1][names] = (kind, seen[kind])
            seen[kind] += 1
    # What most have comes first: a document that has it not has a gap there.
    used = Counter(kind for of_document in kinds for kind in of_document.values())
    places = {kind: place for place, (kind, _) in enumerate(used.most_common(), 1)}
    return [{names: places[kind] for names, kind in of_document.items()} for of_document in kinds]


def _looked_at(document: Document) -> list[Names]:
    """Every value that is looked at, and every object that something has to be in, once. What is planned in a
    closed object is looked at, so that it can be told from what is not."""
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
                "action": rules.on_violation,
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
                "action": rules.unplanned_properties,
            }
            for closed in document.closed
        ],
        "arrays": [
            {"names": list(array.names), "path": array.path, "element": element}
            for array, element in zip(document.arrays, entry.elements, strict=True)
        ],
    }


def _argument(rule: Rule) -> dict[str, Any]:
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
    """A double-precision number as every engine writes it."""
    text = repr(float(value)).removesuffix(".0")
    return text if "e" in text else f"{text}e0"


def _literal(value: Any, depth: int) -> str:
    """A value as Jinja writes it; what holds other things is a line each, the innermost ones on one line."""
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    is_mapping = isinstance(value, dict)
    ends = "{}" if is_mapping else "[]"
    if is_mapping:
        parts = [f"'{key}': {_literal(each, depth + 1)}" for key, each in value.items()]
    else:
        parts = [_literal(each, depth + 1) for each in value]
    if not any(isinstance(each, dict) for each in _inside(value)):
        return f"{ends[0]}{', '.join(parts)}{ends[1]}"
    indent = "    " * (depth + 1)
    return f"{ends[0]}\n{indent}" + f",\n{indent}".join(parts) + f"\n{'    ' * depth}{ends[1]}"


def _inside(value: Any) -> Iterator[Any]:
    for each in value.values() if isinstance(value, dict) else value:
        yield each
        if isinstance(each, dict | list):
            yield from _inside(each)


def _string(text: str) -> str:
    """A text in quotes. Braces are escaped, for dbt looks for `{%` and `}}` before it looks for quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("{", "\\x7b").replace("}", "\\x7d") + "'"
