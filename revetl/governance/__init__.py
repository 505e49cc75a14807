"""Governance of events and personal data: tracking plans, transformations, PII rules."""
