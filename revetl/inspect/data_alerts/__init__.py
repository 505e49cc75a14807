"""Alerts on data: what `data:` of an alert asks, measured in the warehouse, judged, and told once."""

from __future__ import annotations

from revetl.inspect.data_alerts.check import CheckResult, check_data

__all__ = ["CheckResult", "check_data"]
