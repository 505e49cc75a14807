"""The sources that may send, by write key, with their rate limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from revetl.config.collector import CollectorConfig, SourceConfig
from revetl.config.jinja import RenderedValue, render
from revetl.errors import UsageError
from revetl.ingest.load import ALL_SOURCES

_EXAMPLE = "collector: {sources: {web: {write_key: \"{{ env_var('WEB_WRITE_KEY') }}\"}}}"


@dataclass
class Source:
    """A source, and what is left of its rate."""

    name: str
    config: SourceConfig
    keys: tuple[str, ...] = field(repr=False)
    _tokens: float = 0.0
    _at: float = 0.0

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of an origin may send."""
        return "*" in self.config.origins or origin.lower().rstrip("/") in map(str.lower, self.config.origins)

    def wait_for(self, events: int, now: Callable[[], float] = time.monotonic) -> float:
        """Take events from the rate. Returns 0, or the seconds after which the client may try again."""
        rate = self.config.rate
        if rate is None:
            return 0.0
        moment = now()
        self._tokens = (
            min(float(rate), self._tokens + (moment - self._at) * rate) if self._at else float(rate)
        )
        self._at = moment
        if self._tokens <= 0:
            return (1 - self._tokens) / rate
        # A batch may be larger than the rate: it is paid off before the next one.
        self._tokens -= events
        return 0.0


class Sources:
    """The configured sources. Raises UsageError if there is none, for a missing or short key, and for a key
    that two sources have."""

    def __init__(self, config: CollectorConfig, *, filled_in: set[RenderedValue] | None = None) -> None:
        if not config.sources:
            raise UsageError(f"revetl.yml: collector.sources is missing. Add a source: {_EXAMPLE}")
        self._by_key: dict[str, Source] = {}
        self.all: dict[str, Source] = {}
        for name, source in config.sources.items():
            place = f"revetl.yml: collector.sources.{name}"
            if name == ALL_SOURCES:
                raise UsageError(f"{place}: the name '{ALL_SOURCES}' is reserved. Use another name.")
            keys = tuple(_key(key, f"{place}.write_key", filled_in) for key in source.write_key)
            made = self.all[name] = Source(name, source, keys)
            for key in keys:
                other = self._by_key.setdefault(key, made)
                if other is not made:
                    raise UsageError(f"{place}.write_key: source '{other.name}' has the same key.")

    def of_key(self, key: str | None) -> Source | None:
        """Return the source with a write key."""
        return None if key is None else self._by_key.get(key)

    def any_allows(self, origin: str) -> bool:
        """Whether any source accepts pages of an origin: a preflight doesn't name the source."""
        return any(source.allows_origin(origin) for source in self.all.values())


def _key(written: str, place: str, filled_in: set[RenderedValue] | None) -> str:
    rendered: Any = render(written, place, filled_in=filled_in)
    key = str(rendered).strip()
    if not key or any(character in key for character in ": \n/?#"):
        raise UsageError(f"{place}: a write key is missing, or has a colon, a slash or a space.")
    return key
