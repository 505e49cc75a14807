"""Two hundred more stories of chaos, each with two runs that are killed.

A seed again: pytest tests/chaos -k seed-120-
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.story import tell
from tests.chaos.test_chaos import SEEDS


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 200), ids=lambda seed: f"seed-{seed}-")
def test_nothing_is_lost_in_two_hundred_stories(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(seed, tmp_path / "shop", monkeypatch, steps=4, kills=2, fresh=1)
