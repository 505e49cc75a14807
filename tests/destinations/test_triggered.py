"""Syncs of other tools, which are triggered: what a run of ours says of how theirs ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

pytestmark = pytest.mark.slow

KINDS = ("census", "hightouch", "polytomic", "polytomic.bulk")
PEOPLE = "select 'u' || i as user_id, {score} as score from range({count}) as t (i)"


def _project(folder: Path, kind: str, url: str, **config: Any) -> ProjectFolder:
    config = {**setups()[kind].destination(url), **config}
    project = ProjectFolder(folder / "shop", {kind: config})
    meta = {"key": "user_id", "sync": [{"to": kind, "max_change": "900%"}]}
    project.audience("vips", PEOPLE.format(score=1, count=20), meta)
    return project


def _triggers(sandbox: SandboxClient, kind: str) -> int:
    return sum(entry["operation"] == "trigger" for entry in sandbox.requests(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_triggered_once_for_all_changes_and_not_without(
    kind: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = _project(tmp_path, kind, sandbox.url)
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert (plan.add, plan.preview.requests) == (20, ())
    (run,) = project.open().sync("vips")
    assert (run.status, run.delivered["add"], _triggers(sandbox, kind)) == ("success", 20, 1)
    project.open().sync("vips")
    assert _triggers(sandbox, kind) == 1
    # One is new, the others have another score, and one has left.
    project.audience("vips", PEOPLE.format(score="i % 2", count=21) + " where i > 0")
    (run,) = project.open().sync("vips")
    assert (run.delivered["remove"], run.delivered["add"], _triggers(sandbox, kind)) == (1, 1, 2)
    project.open().sync("vips", full_refresh=True)
    assert _triggers(sandbox, kind) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_failed_there_delivers_nothing(kind: str, tmp_path: Path, sandbox: SandboxClient) -> None:
    project = _project(tmp_path, kind, sandbox.url)
    sandbox.misbehave({"kind": "reject", "reason": "the model has no column ltv"})
    (run,) = project.open().sync("vips")
    assert (run.exit_code, sum(run.delivered.values())) == (4, 0)
    assert "the model has no column ltv" in str(run.error)
    sandbox.behave()
    (run,) = project.open().sync("vips")
    assert (run.exit_code, run.delivered["add"]) == (0, 20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("on_row_errors", "exit_code"), [("pass", 0), ("fail", 4)])
def test_rows_that_were_rejected_there(
    kind: str, on_row_errors: str, exit_code: int, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = _project(tmp_path, kind, sandbox.url, on_row_errors=on_row_errors)
    sandbox.misbehave({"kind": "reject", "reason": "rows without an email"})
    (run,) = project.open().sync("vips")
    assert run.exit_code == exit_code
    assert ("3 rows rejected" in str(run.error)) is (on_row_errors == "fail")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_that_is_not_there(kind: str, tmp_path: Path, sandbox: SandboxClient) -> None:
    project = _project(tmp_path, kind, sandbox.url, sync_id="unknown")
    (run,) = project.open().sync("vips")
    assert run.exit_code == 4
    assert "unknown" in str(run.error)
    assert "Set sync_id" in str(run.error)


def test_a_run_that_takes_too_long_is_left_to_the_next_run(tmp_path: Path, sandbox: SandboxClient) -> None:
    project = _project(tmp_path, "census", sandbox.url, max_wait=0.5)
    (run,) = project.open().sync("vips")
    assert (run.exit_code, sum(run.delivered.values())) == (4, 0)
    assert "did not finish within" in str(run.error)
    config = {**setups()["census"].destination(sandbox.url)}
    project.destinations({"census": config})
    # The first is still under way: ours is skipped, waits for it, and is triggered again.
    (run,) = project.open().sync("vips")
    assert (run.exit_code, run.delivered["add"], _triggers(sandbox, "census")) == (0, 20, 3)
