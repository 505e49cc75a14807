"""docs/tutorial/index.md, followed from its first line to its last in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.page import follow
from tests.helpers.built import ROOT

pytestmark = pytest.mark.slow


def test_a_stranger_follows_the_tutorial(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        "NO_COLOR": "1",
    }
    assert follow(ROOT / "docs" / "tutorial" / "index.md", tmp_path, environment) > 15
    (removed,) = (tmp_path / "shop" / "exports" / "viewed_not_bought.exports").glob("run_id=*/remove-*.csv")
    assert "ada" in removed.read_text(encoding="utf-8")
