"""Columns and events mapped to a destination's names."""
