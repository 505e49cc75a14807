"""Replays: send events from the warehouse to a destination again, in time order per person.

A replay is a sync whose source is the staged messages instead of an audience. It is divided into slices,
which are hash ranges of people. Each slice is read, spooled, delivered and checkpointed in turn:
docs/how-to/replay.md.
"""
