"""What events and personal data have to look like: tracking plans, transformations, PII rules."""
