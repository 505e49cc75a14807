"""Event deduplication by destination type, according to each destination's documentation."""

from __future__ import annotations

from datetime import timedelta

from revetl.destinations.base.destination import Destination

FOREVER = timedelta.max

DEDUPLICATES: dict[str, timedelta] = {
    "amplitude": timedelta(days=7),
    "customer_io": FOREVER,
    "facebook_conversions": timedelta(hours=48),
    "heap": FOREVER,
    "iterable": FOREVER,
    "mixpanel": FOREVER,
    "segment": timedelta(hours=24),
    "sql": FOREVER,
    "webhook": FOREVER,
}
"""How long a destination drops events with an ID that it has already received. Destinations that are not
listed count a repeated event twice."""


def deduplicates_for(destination: Destination) -> timedelta | None:
    """Return how long a destination deduplicates events; None if it doesn't."""
    return DEDUPLICATES.get(destination.type)


def rule_of(destination: Destination) -> str:
    """Return the deduplication rule as a sentence."""
    span = deduplicates_for(destination)
    if span is None:
        return (
            f"{destination.type} does not recognize an event that it has already: what is in flight when a "
            "replay is interrupted may be counted twice"
        )
    if span == FOREVER:
        return f"{destination.type} keeps one event per message id"
    hours = int(span.total_seconds() // 3600)
    words = f"{hours // 24} days" if hours > 48 else f"{hours} hours"
    return f"{destination.type} keeps one event per message id for {words}"
