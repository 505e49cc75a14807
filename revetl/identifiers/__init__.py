"""Values that identify people, normalized and hashed as destinations require."""
