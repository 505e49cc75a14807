"""Map columns and events to a destination's fields and identifiers."""
