"""Ids of runs are in the order of the runs, also within a second."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from revetl.sync.state.run_ids import beginning, new_run_id

STEP = timedelta(microseconds=16)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2090, 1, 1)), st.integers(1, 10**9))
def test_a_later_run_has_a_later_id(moment: datetime, steps: int) -> None:
    assert beginning(moment) < beginning(moment + steps * STEP)


def test_an_id_begins_with_its_moment() -> None:
    assert beginning(datetime(2026, 1, 2, 3, 4, 5, 999_999)) == "20260102T030405-ffff"
    ids = [new_run_id() for _ in range(100)]
    assert [made[:20] for made in ids] == sorted(made[:20] for made in ids)
