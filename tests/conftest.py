"""Fixtures of all tests: a sandbox over loopback, a project in a folder, the command line in a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings

import revetl.cli
from revetl.observability import logs
from revetl.sandbox import running_sandbox
from tests.helpers.project import ProjectFolder

# How long an example takes is the machine's, and no property of what is tested.
settings.register_profile("revetl", deadline=None)
settings.load_profile("revetl")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


class SandboxClient:
    """A running sandbox, and what it saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        # One client for all requests: each would read the certificates again. No connection is kept, for the
        # sandbox may close one at any time.
        self._client = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))

    def members(self, destination: str, audience: str) -> dict[str, Any]:
        """Id to fields of the members a destination holds."""
        audiences = self._client.get(f"{self.url}/_/members/{destination}").json()["audiences"]
        held: dict[str, Any] = audiences.get(audience, {"members": {}})["members"]
        return held

    def requests(self, destination: str) -> list[dict[str, Any]]:
        """The log of a destination's requests."""
        log: list[dict[str, Any]] = self._client.get(f"{self.url}/_/requests/{destination}").json()
        return log

    def deliveries(self, destination: str) -> list[dict[str, Any]]:
        """The same without the requests that read and write the mark of a list's last run."""
        return [each for each in self.requests(destination) if each["operation"] not in ("describe", "probe")]

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Put rules in force."""
        self._client.post(f"{self.url}/_/misbehave", json=list(rules)).raise_for_status()

    def rules(self) -> list[dict[str, Any]]:
        """The rules that are in force."""
        rules: list[dict[str, Any]] = self._client.get(f"{self.url}/_/misbehave").json()
        return rules

    def behave(self) -> None:
        """Lift all rules."""
        self._client.delete(f"{self.url}/_/misbehave")

    def start_anew(self) -> None:
        """Hold nothing, remember nothing, and behave."""
        self._client.post(f"{self.url}/_/reset")


@pytest.fixture(autouse=True)
def _own_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for another's turn at a destination."""
    monkeypatch.setenv("REVETL_BUDGET_DIR", str(tmp_path / "budgets"))


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test's words are another's secrets."""
    monkeypatch.setattr("revetl.observability.logs._secrets", set())


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[SandboxClient]:
    with running_sandbox() as url:
        yield SandboxClient(url)


@pytest.fixture
def sandbox(_sandbox: SandboxClient) -> SandboxClient:
    """A sandbox that holds nothing and behaves."""
    _sandbox.start_anew()
    return _sandbox


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", default="duckdb", help="The warehouse of the fixture `project`.")
    parser.addoption("--engines", default="postgres", help="Whom tests/conformance compares with DuckDB.")


@pytest.fixture
def project(tmp_path: Path, sandbox: SandboxClient, request: pytest.FixtureRequest) -> ProjectFolder:
    """A project whose destination `crm` is the sandbox's webhook, on the warehouse of `--engine`."""
    engine = request.config.getoption("engine")
    return ProjectFolder(tmp_path / "shop", {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}, engine)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The `revetl` command: its own `main`, in this process, where starting one would be most of the time.
    Tests of processes (signals, kills, imports) start theirs with `in_a_process`."""

    def run(
        folder: Path | ProjectFolder, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(folder.root if isinstance(folder, ProjectFolder) else folder)
            for name, value in {"NO_COLOR": "1", **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["revetl", *arguments])
            try:
                revetl.cli.main()
                raise AssertionError("main always exits")
            except SystemExit as end:
                code = end.code
            finally:
                logs.configure()
        return subprocess.CompletedProcess(arguments, int(code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def in_a_process() -> Cli:
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
