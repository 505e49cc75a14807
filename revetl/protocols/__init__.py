"""The tracking plan: what events there are to be, checked message by message and in the warehouse."""

from __future__ import annotations

from revetl.protocols.check import Checker, Violation
from revetl.protocols.compiled import CompiledPlan
from revetl.protocols.enforce import Enforced, Enforcer
from revetl.protocols.plan import PLAN_FILE, TrackingPlan, read_plan

__all__ = [
    "PLAN_FILE",
    "Checker",
    "CompiledPlan",
    "Enforced",
    "Enforcer",
    "TrackingPlan",
    "Violation",
    "read_plan",
]
