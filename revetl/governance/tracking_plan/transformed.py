"""Transform a message as the warehouse does, except for derived properties, which are SQL."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.governance.tracking_plan.plan import DOCUMENTS
from revetl.governance.transformations import Transformation, at_path, first_of
from revetl.identifiers.trimming import trimmed

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))([.]0+)?")


@dataclass(frozen=True)
class TransformedMessage:
    """A transformed message, and the names of properties that only the warehouse derives."""

    message: dict[str, Any]
    derived: tuple[str, ...] = ()
    is_changed: bool = False


def transform(
    transformations: tuple[Transformation, ...], message: Mapping[str, Any], source: str | None = None
) -> TransformedMessage:
    """Transform a Segment-spec message from a source with the first transformation that applies. Other values
    are returned unchanged."""
    kind = str(message.get("type"))
    event = message.get("event")
    event = event.strip() if isinstance(event, str) else None
    entry = first_of(transformations, kind, event if kind == "track" else None, source)
    if entry is None or kind not in DOCUMENTS:
        return TransformedMessage(dict(message))
    made = dict(message)
    if entry.rename_event is not None:
        made["event"] = entry.rename_event.strip()
    if isinstance(document := made.get(DOCUMENTS[kind]), Mapping):
        made[DOCUMENTS[kind]] = _document(entry, copy.deepcopy(dict(document)))
    return TransformedMessage(made, tuple(entry.derive), is_changed=True)


def _document(entry: Transformation, document: dict[str, Any]) -> dict[str, Any]:
    original = copy.deepcopy(document)
    places: dict[str, tuple[str, ...]] = {name: (path, name) for name, path in entry.renamed.items()}
    places |= {path: (path,) for path in entry.cast if path not in places}
    for target, sources in places.items():
        found = [at_path(original, tuple(path.split("."))) for path in sources]
        for path in sources:
            _remove(document, path)
        value = next((each for each in found if each is not ...), ...)
        if value is not ...:
            *parents, name = target.split(".")
            inside = at_path(document, tuple(parents))
            inside[name] = cast_value(value, entry.cast[target]) if target in entry.cast else value
    for path in (*entry.drop, *entry.derive):
        _remove(document, path)
    return document


def _remove(document: dict[str, Any], path: str) -> None:
    *parents, name = path.split(".")
    inside = at_path(document, tuple(parents))
    if isinstance(inside, dict):
        inside.pop(name, None)


def cast_value(value: Any, kind: str) -> Any:
    """Convert a JSON value to another type if possible; else return it unchanged."""
    if value is None or isinstance(value, dict | list):
        return value
    word = trimmed(value) if isinstance(value, str) else json.dumps(value)
    if kind == "string":
        return value if isinstance(value, str) else word
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(word.lower(), value)
    if kind == "integer":
        whole = _WHOLE.fullmatch(word)
        return int(whole[1]) if whole else value
    return json.loads(word) if _NUMBER.fullmatch(word) else value
