"""How each type of destination recognizes an event that it has already, by its documentation."""

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
"""For how long a destination drops an event with an id that it has seen. A destination that isn't listed
counts an event that is sent twice as two."""


def deduplicates_for(destination: Destination) -> timedelta | None:
    """For how long a destination recognizes an event; None if it doesn't."""
    return DEDUPLICATES.get(destination.type)


def rule_of(destination: Destination) -> str:
    """The rule, in a sentence."""
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
