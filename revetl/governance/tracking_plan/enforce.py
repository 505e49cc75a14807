"""Enforce the plan on one message, for everything that receives messages one by one.

The warehouse does the same to loaded messages, in SQL (`macros/protocols`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.governance.tracking_plan.check import Checker, Violation
from revetl.governance.tracking_plan.plan import (
    DOCUMENTS,
    Property,
    TrackingPlan,
    Value,
)
from revetl.governance.tracking_plan.policy import action_of

_SEVERITY = ("allow", "flag", "omit", "block")


@dataclass(frozen=True)
class EnforcedMessage:
    """An enforced message: `action` is the most severe one of its violations (allow without any); `message`
    lacks omitted properties, and is None if blocked."""

    action: str
    message: dict[str, Any] | None
    violations: tuple[Violation, ...]


class Enforcer:
    """Enforces a plan whose templates are resolved (`TrackingPlan.resolved`) on messages."""

    def __init__(self, plan: TrackingPlan) -> None:
        self._checker = Checker(plan)
        self._rules = {(rules.message_type, rules.event): rules for rules in plan.rules()}

    def enforce(self, message: Mapping[str, Any], source: str | None = None) -> EnforcedMessage:
        """Enforce the plan on a Segment-spec message from a source, without modifying the argument. Raises
        UsageError if it isn't a message."""
        found = tuple(self._checker.check(message, source))
        actions = {each.action for each in found}
        action = next((each for each in reversed(_SEVERITY) if each in actions), "allow")
        if action == "block":
            return EnforcedMessage(action, None, found)
        kept = dict(message)
        if "omit" in actions:
            event = next((each.event for each in found), None)
            rules = self._rules[str(message.get("type")), event]
            if action_of(rules.unplanned_properties, source) == "omit":
                field = DOCUMENTS[rules.message_type]
                kept[field] = _planned_members(copy.deepcopy(message[field]), rules.properties)
        return EnforcedMessage(action, kept, found)


def _planned_members(value: Mapping[str, Any], properties: tuple[Property, ...]) -> dict[str, Any]:
    planned = {each.name: each for each in properties}
    return {name: _planned(each, planned[name]) for name, each in value.items() if name in planned}


def _planned(value: Any, planned: Value) -> Any:
    if isinstance(value, dict) and planned.properties is not None:
        return _planned_members(value, planned.properties)
    if isinstance(value, list) and planned.items is not None:
        return [_planned(each, planned.items) for each in value]
    return value
