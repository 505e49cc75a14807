"""docs/explanation/inventory.md, followed from its first line to its last in a new project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from revetl.sandbox import running_sandbox
from tests.docs.page import follow
from tests.helpers.built import ROOT

pytestmark = pytest.mark.long


def test_the_integration_inventory_does_what_it_says(tmp_path: Path) -> None:
    binaries = ROOT / ".venv" / "bin"
    with running_sandbox() as url:
        environment = {
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "REVETL_SANDBOX_URL": url,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        }
        assert follow(ROOT / "docs" / "explanation" / "inventory.md", tmp_path, environment) > 20
