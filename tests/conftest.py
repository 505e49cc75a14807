"""Fixtures of all tests: a sandbox over loopback, a project in a folder, the command line in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.sandbox import running_sandbox
from tests.support.project import ProjectFolder

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


class SandboxClient:
    """A running sandbox, and what it saw."""

    def __init__(self, url: str) -> None:
        self.url = url

    def members(self, destination: str, audience: str) -> dict[str, Any]:
        """Id to fields of the members a destination holds."""
        audiences = httpx.get(f"{self.url}/_/members/{destination}").json()["audiences"]
        held: dict[str, Any] = audiences.get(audience, {"members": {}})["members"]
        return held

    def requests(self, destination: str) -> list[dict[str, Any]]:
        """The log of a destination's requests."""
        log: list[dict[str, Any]] = httpx.get(f"{self.url}/_/requests/{destination}").json()
        return log

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Put rules in force."""
        httpx.post(f"{self.url}/_/misbehave", json=list(rules)).raise_for_status()

    def behave(self) -> None:
        """Lift all rules."""
        httpx.delete(f"{self.url}/_/misbehave")


@pytest.fixture(autouse=True)
def _own_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for another's turn at a destination."""
    monkeypatch.setenv("REVETL_BUDGET_DIR", str(tmp_path / "budgets"))


@pytest.fixture(scope="session")
def _sandbox_url() -> Iterator[str]:
    with running_sandbox() as url:
        yield url


@pytest.fixture
def sandbox(_sandbox_url: str) -> SandboxClient:
    """A sandbox that holds nothing and behaves."""
    httpx.post(f"{_sandbox_url}/_/reset")
    return SandboxClient(_sandbox_url)


@pytest.fixture
def project(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project whose destination `crm` is the sandbox's webhook."""
    return ProjectFolder(tmp_path / "shop", {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}})


@pytest.fixture
def cli() -> Cli:
    """The `revetl` command, in a process of its own."""

    def run(
        folder: Path | ProjectFolder, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "revetl", *arguments],
            cwd=folder.root if isinstance(folder, ProjectFolder) else folder,
            env={**os.environ, "NO_COLOR": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
