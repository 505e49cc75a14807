"""Logs, telemetry, and alerts of runs."""
