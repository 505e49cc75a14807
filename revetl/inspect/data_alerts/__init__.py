"""Data alerts: the checks under `data:` of an alert, measured in the warehouse, evaluated, and notified
once."""

from __future__ import annotations

from revetl.inspect.data_alerts.check import CheckResult, check_data

__all__ = ["CheckResult", "check_data"]
