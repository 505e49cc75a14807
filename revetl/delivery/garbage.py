"""How often Python collects garbage while records are delivered."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 10_000
"""New objects that start a collection. A batch of 1,000 records has some 5,000."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Collect garbage rarely. Records are dicts without reference cycles, which are freed without the
    collector, and its default of a collection per 700 new objects takes a quarter of a delivery's CPU time.
    The setting is the process's; it is restored."""
    threshold = gc.get_threshold()
    # A first threshold of 0 means that the collector is off.
    gc.set_threshold(max(_NEW_OBJECTS, threshold[0]) if threshold[0] else 0, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
