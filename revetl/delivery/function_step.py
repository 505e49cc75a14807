"""Apply the function of a sync to its records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from revetl.delivery.functions.process import Function
from revetl.destinations.base.destination import Destination, Record
from revetl.project.workspace import Sync

Own = Callable[[Record, str], Record]
_OF_GROUPS = ("groupId", "group_id")


def function_of(root: Path, sync: Sync, destination: Destination) -> Own | None:
    """Return the function of a sync, which takes a record and its operation; None if it has none. Raises
    UsageError when its file does not exist, cannot be loaded, or has no handler for the sync's records."""
    config = sync.config.function
    if config is None:
        return None
    kind = kind_of(sync, destination)
    function = Function(root, config)
    function.check(kind)

    def own(record: Record, operation: str) -> Record:
        return _made(function, _told(record, kind, sync, operation), record, kind)

    return own


def kind_of(sync: Sync, destination: Destination) -> str:
    """Return the kind of a sync's records, named like Segment's calls."""
    if sync.config.mode == "delete":
        return "delete"
    if sync.config.mode == "events":
        return "track"
    known = sync.config.identifiers or [each.name for each in destination.known_by[:1]]
    return "group" if any(name in _OF_GROUPS for name in known) else "identify"


def _told(record: Record, kind: str, sync: Sync, operation: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": kind,
        "key": record.key,
        "audience": sync.audience.name,
        "operation": operation,
        "identifiers": dict(record.identifiers),
        _fields_of(kind): dict(record.fields),
    }
    if kind == "track":
        told |= {"event": record.event or sync.config.event, "timestamp": record.timestamp}
    return told


def _fields_of(kind: str) -> str:
    return "properties" if kind == "track" else "traits"


def _made(function: Function, told: dict[str, Any], record: Record, kind: str) -> Record:
    outcome = function(told)
    if outcome.rejected is not None:
        return record._replace(problem=outcome.rejected)
    if outcome.later is not None:
        return record._replace(later=outcome.later)
    if outcome.dropped is not None:
        return record._replace(instead=())
    made = []
    for part, each in enumerate(outcome.records):
        identifiers, fields = each.get("identifiers", {}), each.get(_fields_of(kind), {})
        if not (isinstance(identifiers, dict) and isinstance(fields, dict)):
            what = f"{function.called}: 'identifiers' and '{_fields_of(kind)}' of a record must be dicts"
            return record._replace(problem=what)
        known = {name: value for name, value in identifiers.items() if value is not None}
        made.append(record._replace(identifiers=known, fields=fields, part=part))
        if kind == "track":
            made[-1] = made[-1]._replace(event=each.get("event"), timestamp=each.get("timestamp"))
    return made[0] if len(made) == 1 else record._replace(instead=tuple(made))
