"""What becomes of one message by the plan: the one function for whatever receives messages one by one.

The warehouse does the same to all that has landed, in SQL (`macros/protocols`).
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
class Enforced:
    """A message after the plan: `action` is the most severe one of its violations (allow where it has none);
    `message` is without what is omitted, and None where it is blocked."""

    action: str
    message: dict[str, Any] | None
    violations: tuple[Violation, ...]


class Enforcer:
    """A plan whose templates are decided (`TrackingPlan.resolved`), made ready for many messages."""

    def __init__(self, plan: TrackingPlan) -> None:
        self._checker = Checker(plan)
        self._rules = {(rules.message_type, rules.event): rules for rules in plan.rules()}

    def enforce(self, message: Mapping[str, Any], source: str | None = None) -> Enforced:
        """What becomes of a Segment-spec message of a source. The message that is given stays as it is.
        Raises UsageError where it is no message."""
        found = tuple(self._checker.check(message, source))
        actions = {each.action for each in found}
        action = next((each for each in reversed(_SEVERITY) if each in actions), "allow")
        if action == "block":
            return Enforced(action, None, found)
        kept = dict(message)
        if "omit" in actions:
            event = next((each.event for each in found), None)
            rules = self._rules[str(message.get("type")), event]
            if action_of(rules.unplanned_properties, source) == "omit":
                field = DOCUMENTS[rules.message_type]
                kept[field] = _planned_members(copy.deepcopy(message[field]), rules.properties)
        return Enforced(action, kept, found)


def _planned_members(value: Mapping[str, Any], properties: tuple[Property, ...]) -> dict[str, Any]:
    planned = {each.name: each for each in properties}
    return {name: _planned(each, planned[name]) for name, each in value.items() if name in planned}


def _planned(value: Any, planned: Value) -> Any:
    if isinstance(value, dict) and planned.properties is not None:
        return _planned_members(value, planned.properties)
    if isinstance(value, list) and planned.items is not None:
        return [_planned(each, planned.items) for each in value]
    return value
