"""The tracking plan: planned events and their properties, checked per message and in the warehouse."""

from __future__ import annotations

from revetl.governance.tracking_plan.check import Checker, Violation
from revetl.governance.tracking_plan.compiled import CompiledPlan
from revetl.governance.tracking_plan.enforce import EnforcedMessage, Enforcer
from revetl.governance.tracking_plan.plan import PLAN_FILE, TrackingPlan, read_plan

__all__ = [
    "PLAN_FILE",
    "Checker",
    "CompiledPlan",
    "EnforcedMessage",
    "Enforcer",
    "TrackingPlan",
    "Violation",
    "read_plan",
]
