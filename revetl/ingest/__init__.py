"""Loads Segment-spec messages into the raw tables."""
