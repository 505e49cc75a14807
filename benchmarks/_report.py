"""What every benchmark prints: sizes, seconds, the floor's seconds, their ratio, and peak memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """One benchmark's figures. `ratio` is seconds over floor_seconds; only it can be compared."""

    benchmark: str
    sizes: dict[str, Any]
    seconds: float
    floor_seconds: float
    ratio: float
    peak_mb: float
    goal: str

    def print(self, as_json: bool) -> None:
        """One JSON object, or a line for a person."""
        if as_json:
            print(json.dumps(asdict(self)))
            return
        sizes = ", ".join(f"{name} {value:,}" for name, value in self.sizes.items())
        print(
            f"{self.benchmark}: {self.seconds:.2f} s, {self.ratio:.2f} times the floor of {self.floor_seconds:.2f} s, "
            f"peak {self.peak_mb:,.0f} MB ({sizes}); goal: {self.goal}"
        )


@dataclass
class Clock:
    """The seconds of a `timed` block."""

    seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Clock]:
    """Time a block."""
    clock = Clock()
    start = time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - start


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
