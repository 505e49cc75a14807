"""What amplitude needs of its configuration, and what it asks the engine to do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from revetl.destinations import make_destination
from revetl.destinations.base.destination import Batch
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

OWN = {"type": "amplitude", "api_key": "the-api-key"}


def test_a_cohort_needs_the_secret_key(tmp_path: Path, sandbox: SandboxClient) -> None:
    at = f"{sandbox.url}/amplitude"
    project = ProjectFolder(tmp_path / "shop", {"amp": {**OWN, "base_url": at, "app_url": at}})
    project.audience("vips", "select 'user-1' as user_id", {"key": "user_id", "sync": [{"to": "amp"}]})
    (plan,) = project.open().plan("vips")
    assert "/api/3/cohorts/membership" in repr(plan.preview)
    assert "the-api-key" not in repr(plan.preview)
    (run,) = project.open().sync("vips")
    assert run.status == "refused"
    assert run.error is not None
    assert "secret_key" in run.error


@pytest.mark.parametrize(
    ("use_batch", "mode", "limits"),
    [
        (False, "events", Batch(records=1_000, bytes=1_000_000)),
        (True, "events", Batch(records=2_000, bytes=20_000_000)),
        (False, "mirror", Batch(records=100_000)),
        (True, "mirror", Batch(records=100_000)),
        (True, "delete", Batch(records=100)),
    ],
)
def test_a_mode_has_limits_of_its_own(use_batch: bool, mode: str, limits: Batch) -> None:
    assert make_destination({**OWN, "use_batch": use_batch}, "amp").limits_of(mode) == limits


@pytest.mark.parametrize(
    ("body", "seconds"), [('{"code": 429, "eps_threshold": 30}', 30.0), ("{}", None), ("no", None)]
)
def test_throttled_users_are_let_alone_for_half_a_minute(body: str, seconds: float | None) -> None:
    assert make_destination(OWN, "amp").pause(httpx.Response(429, text=body)) == seconds
