"""docs/how-to/reverse-etl-only.md, followed from its first line to its last in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from revetl.sandbox import running_sandbox
from tests.docs.page import follow
from tests.helpers.built import ROOT

pytestmark = pytest.mark.slow


def test_reverse_etl_needs_no_package(tmp_path: Path) -> None:
    binaries = ROOT / ".venv" / "bin"
    with running_sandbox() as url:
        environment = {
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "REVETL_SANDBOX_URL": url,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
            "NO_COLOR": "1",
        }
        assert follow(ROOT / "docs" / "how-to" / "reverse-etl-only.md", tmp_path, environment) > 10
    assert not (tmp_path / "shop" / "dbt_packages").exists()
