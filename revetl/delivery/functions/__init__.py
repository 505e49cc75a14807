"""User functions that change records before they are sent, each in its own process."""
