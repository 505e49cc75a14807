"""Projects on DuckDB and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

ENGINES = ("duckdb", "postgres")


@pytest.fixture(params=ENGINES)
def shop(request: pytest.FixtureRequest, tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project on each engine whose destination `crm` is the sandbox's webhook."""
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    return ProjectFolder(tmp_path / "shop", {"crm": crm}, request.param)
