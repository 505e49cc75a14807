"""The how-to guides, each followed from its first line to its last in a new project that is built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from revetl.project.scaffolding import make_project
from revetl.sandbox import running_sandbox
from tests.docs.page import follow
from tests.helpers.built import ROOT
from tests.models.conftest import run_dbt

GUIDES = ROOT / "docs" / "how-to"
FOLLOWED = {"audiences": 3, "functions": 3, "testing-delivery": 3, "validate": 2, "why": 1}
"""Pages whose `console` blocks are run here, and how many commands they have at least."""
ELSEWHERE = {"adopting": "test_adopting.py", "reverse-etl-only": "test_reverse_etl_only.py"}
"""Pages that a test of their own follows."""
NOT_FOLLOWED = {
    "alerts": "needs an address to notify",
    "collecting": "its server runs until it is stopped; tests/ingest/collector has one",
    "collecting-sdks": "its snippets are for SDKs in other languages; tests/ingest/collector runs them",
    "comparing-audiences": "its commands are indented, and not run yet",
    "events": "its snippets are for accounts of Google Analytics, Braze and Amplitude",
    "exposures": "its commands are indented, and not run yet; tests/project/test_exposures.py runs them",
    "identity": "its commands are indented, and not run yet",
    "importing-audiences": "its commands are indented, and not run yet; tests/importers runs them",
    "loading": "its file of late events is the reader's; tests/ingest runs the commands",
    "migrating": "needs an export of Hightouch or Census; tests/importers has some",
    "observability": "needs an OpenTelemetry collector",
    "overrides": "its models are the reader's; tests/models/test_overrides.py has some",
    "pii": "its commands are indented, and not run yet",
    "privacy": "its people are the reader's; tests/privacy runs the commands",
    "reconcile": "its commands are indented, and not run yet",
    "replay": "its destinations are the reader's; tests/sync/replay runs the commands",
    "sandbox": "its requests are for a server that the reader starts",
    "selection": "its audiences and folders are the reader's",
    "signing-in": "needs accounts of vendors",
    "syncing": "its commands are indented, and not run yet",
    "tracking-plan": "its commands are indented, and not run yet",
    "traits": "its commands are indented, and not run yet",
    "warehouses": "needs accounts of warehouses",
    "writing-a-destination": "its connector is the reader's",
}
"""Pages that are not run, and why."""


def test_every_guide_is_followed_or_says_why_not() -> None:
    pages = {page.stem for page in GUIDES.glob("*.md")}
    assert pages == FOLLOWED.keys() | ELSEWHERE.keys() | NOT_FOLLOWED.keys()
    assert len(pages) == len(FOLLOWED) + len(ELSEWHERE) + len(NOT_FOLLOWED)
    assert all((ROOT / "tests" / "docs" / name).exists() for name in ELSEWHERE.values())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, built."""
    folder = tmp_path_factory.mktemp("pages") / "my_cdp"
    make_project(folder)
    for words in (["deps"], ["build"]):
        run_dbt(folder / "my_cdp.duckdb", *words, project=folder)
    return folder


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The environment of a reader, with a sandbox."""
    with running_sandbox() as url:
        yield {
            **os.environ,
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "REVETL_SANDBOX_URL": url,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
            "NO_COLOR": "1",
        }


@pytest.mark.long
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_guide_does_what_it_says(
    built: Path, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "my_cdp"
    shutil.copytree(built, folder)
    assert follow(GUIDES / f"{name}.md", folder, environment) >= FOLLOWED[name]
