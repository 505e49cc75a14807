"""Replays: events out of the warehouse to a destination, in order of time per person.

A replay is a sync whose source is the staged messages instead of an audience. It is divided into slices, hash
ranges of people, each of which is read, spooled, delivered and booked in turn: docs/how-to/replay.md.
"""
