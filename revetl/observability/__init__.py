"""Logs, telemetry and alerts for runs."""
