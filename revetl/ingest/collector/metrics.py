"""Counters of a collector, and their text for Prometheus (OpenMetrics)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from revetl.ingest.collector.segments import Backlog

_QUANTILES = (0.5, 0.9, 0.99)


class Counters:
    """Counts of events by source, and of requests."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.violations: Counter[tuple[str, str]] = Counter()
        self.noticed: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[int] = Counter()
        self.unknown_keys = 0
        self.refused_origins = 0
        self.landed = 0
        self.landing_failures = 0
        self.damaged_bytes = 0

    def lines(self, backlog: Backlog, now: float, syncs: Sequence[float], sync_count: int) -> Iterator[str]:
        """The OpenMetrics text, line by line."""
        by_source = (
            ("accepted_events", "Events stored, by source.", self.accepted),
            ("rejected_events", "Events rejected, by source.", self.rejected),
        )
        for name, text, counts in by_source:
            yield from _head(name, "counter", text)
            for source, count in sorted(counts.items()):
                yield f'revetl_{name}_total{{source="{source}"}} {count}'
        yield from _head("plan_violations", "counter", "Events that violate the tracking plan, by action.")
        for (source, action), count in sorted(self.violations.items()):
            yield f'revetl_plan_violations_total{{source="{source}",action="{action}"}} {count}'
        yield from _head("noticed_events", "counter", "Events with a conspicuous value, by kind.")
        for (source, kind), count in sorted(self.noticed.items()):
            yield f'revetl_noticed_events_total{{source="{source}",kind="{kind}"}} {count}'
        yield from _head("requests", "counter", "Requests, by status.")
        for status, count in sorted(self.requests.items()):
            yield f'revetl_requests_total{{status="{status}"}} {count}'
        plain = (
            ("unknown_keys", "Requests with an unknown write key.", self.unknown_keys),
            (
                "refused_origins",
                "Requests from an origin that the source doesn't allow.",
                self.refused_origins,
            ),
            ("landed_events", "Events landed in the warehouse.", self.landed),
            ("landing_failures", "Landings that failed and are tried again.", self.landing_failures),
            ("damaged_bytes", "Bytes of segments that belong to no intact frame.", self.damaged_bytes),
        )
        for name, text, count in plain:
            yield from _head(name, "counter", text)
            yield f"revetl_{name}_total {count}"
        oldest = 0.0 if backlog.oldest is None else max(0.0, now - backlog.oldest)
        gauges: tuple[tuple[str, str, float], ...] = (
            ("backlog_bytes", "Bytes that are not landed yet.", backlog.bytes),
            ("backlog_segments", "Segments that are not landed yet.", backlog.segments),
            ("backlog_seconds", "Age of the oldest segment that is not landed yet.", round(oldest, 3)),
        )
        for name, text, value in gauges:
            yield from _head(name, "gauge", text)
            yield f"revetl_{name} {value}"
        yield from _head("sync_seconds", "summary", "Time to write a group of requests to the disk.")
        latest = sorted(syncs)
        for quantile in _QUANTILES if latest else ():
            value = latest[min(len(latest) - 1, int(quantile * len(latest)))]
            yield f'revetl_sync_seconds{{quantile="{quantile}"}} {value:.6f}'
        yield f"revetl_sync_seconds_count {sync_count}"
        yield "# EOF"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# TYPE revetl_{name} {kind}"
    yield f"# HELP revetl_{name} {text}"
