"""Normalize and hash identifiers as destinations require."""
