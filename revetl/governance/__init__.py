"""Governance of events and personal data: tracking plans, transformations and PII rules."""
