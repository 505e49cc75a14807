"""The runner on every engine: the same stories, told alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.stories import STORIES, told
from tests.conftest import SandboxClient

SLOW = {
    "who comes, changes and leaves",
    "values of every kind",
    "keys that are no keys",
    "modes that remove nobody",
    "insert",
}
LONG = {
    "identifiers that change hands",
    "a destination that refuses some",
    "an old identifier that cannot be removed",
    "another mapping",
    "suppressed, held out, and over the limit",
}
_ON_DUCKDB: dict[str, list[dict[str, Any]]] = {}


MARKS = {
    **{key: [pytest.mark.slow] for key in SLOW},
    **{key: [pytest.mark.slow, pytest.mark.long] for key in LONG},
}


@pytest.mark.parametrize("story", [pytest.param(each, marks=MARKS.get(each, [])) for each in STORIES])
def test_a_story_is_told_as_on_duckdb(
    story: str, engine: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    if story not in _ON_DUCKDB:
        _ON_DUCKDB[story] = told(story, "duckdb", tmp_path / "duckdb", sandbox)
        sandbox.start_anew()
    expected = _ON_DUCKDB[story]
    found = told(story, engine, tmp_path / engine, sandbox)
    for step, (theirs, ours) in enumerate(zip(expected, found, strict=True)):
        for name in theirs:
            assert ours[name] == theirs[name], f"step {step}: {name}"
