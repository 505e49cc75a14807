"""The tracking plan at the edge: what a message violates, as the warehouse will find.

The raw message is stored in any case. `dbt build` blocks, omits and transforms by the same files, so a
corrected plan readmits what was blocked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.errors import UsageError
from revetl.governance.tracking_plan import Enforcer, TrackingPlan, Violation
from revetl.governance.tracking_plan.transformed import transform
from revetl.governance.transformations import Transformation

_MOST_SEVERE_FIRST = ("block", "omit", "flag")


@dataclass(frozen=True)
class PlanFinding:
    """What the plan finds in a message: its most severe action (`flag`, `omit` or `block`) and violations."""

    action: str
    violations: tuple[Violation, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The violations without any value of the message."""
        return tuple(
            f"{each.path or 'event'}: {each.rule}, expected {each.expected}" for each in self.violations
        )


class PlanChecker:
    """Checks messages against a plan whose templates are resolved, after the project's transformations."""

    def __init__(self, plan: TrackingPlan, transformations: tuple[Transformation, ...] = ()) -> None:
        self.plan = plan
        self._enforcer = Enforcer(plan)
        self._transformations = transformations

    def check(self, message: Mapping[str, Any], source: str) -> PlanFinding | None:
        """Return what the plan finds in a message; None if it violates nothing."""
        transformed = transform(self._transformations, message, source)
        try:
            found = self._enforcer.enforce(transformed.message, source)
        except UsageError:
            # Not a type that a plan has.
            return None
        # A property that only the warehouse derives can't be missing yet.
        violations = tuple(
            each
            for each in found.violations
            if not (each.rule == "required" and each.path in transformed.derived)
        )
        if not violations:
            return None
        actions = {each.action for each in violations}
        return PlanFinding(next(each for each in _MOST_SEVERE_FIRST if each in actions), violations)
