"""Landing Segment-spec messages in the raw tables."""
