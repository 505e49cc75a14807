"""The collector's settings while records are delivered, and after."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from revetl.delivery.garbage import rarely_collected


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "during"), [(700, 10_000), (0, 0), (20_000, 20_000)])
def test_the_threshold_is_raised_and_restored(before: int, during: int) -> None:
    gc.set_threshold(before, 11, 12)
    with pytest.raises(RuntimeError), rarely_collected():
        assert gc.get_threshold() == (during, 11, 12)
        raise RuntimeError
    assert gc.get_threshold() == (before, 11, 12)
