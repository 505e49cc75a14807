"""Containers of one hostname: each has a PID namespace, and sees none of the other's processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.server import Chaos, chaos

RUN = [sys.executable, "-m", "revetl", "sync", "audience", "vips"]
PEOPLE = 300


def _may_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not _may_unshare(), reason="`unshare --pid` is not permitted here"),
]


def shop(folder: Path, server: Chaos, rate: float = 10) -> ProjectFolder:
    config = {"type": "webhook", "url": server.url, "batch_size": 5, "requests_per_second": rate}
    project = ProjectFolder(folder, {"crm": config})
    query = f"select 'u' || i as user_id, i as score from range({PEOPLE}) as numbers (i)"
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm"}]})
    return project


def contained(project: ProjectFolder, *options: str) -> subprocess.Popen[str]:
    """A run in a PID namespace that ends with it."""
    return begun(project, ["unshare", "--pid", "--fork", "--kill-child", *options, *RUN])


def begun(project: ProjectFolder, command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_requests(server: Chaos, count: int) -> None:
    deadline = time.monotonic() + 60
    while server.requests < count:
        assert time.monotonic() < deadline, "nothing was sent"
        time.sleep(0.02)


@pytest.mark.parametrize("options", [("--mount-proc",), ()], ids=["its own /proc", "the host's /proc"])
def test_two_containers_of_one_hostname_never_deliver_at_once(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with chaos(0) as server:
        server.calm = True
        # Slow enough that the others begin meanwhile.
        project = shop(tmp_path / "shop", server, rate=1.5)
        first = contained(project, *options)
        wait_for_requests(server, 3)
        # Another container, and the host itself.
        others = [contained(project, *options), begun(project, RUN)]
        for other in others:
            out, error = other.communicate(timeout=60)
            assert (other.returncode, "locked by run" in error) == (6, True), out + error
        assert first.wait(timeout=90) == 0
        assert max(Counter(server.answered).values()) == 1
        assert len(server.audiences["vips"]) == PEOPLE


def test_a_container_that_died_is_waited_for_until_its_lease_ends(tmp_path: Path) -> None:
    with chaos(0) as server:
        server.calm = True
        project = shop(tmp_path / "shop", server)
        first = contained(project, "--mount-proc")
        wait_for_requests(server, 3)
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1)
        second = contained(project, "--mount-proc")
        _, error = second.communicate(timeout=60)
        assert (second.returncode, "until its lease expires at" in error) == (6, True), error
        project.sql("update revetl.revetl.sync_locks set expires_at = acquired_at")
        third = contained(project, "--mount-proc")
        _, error = third.communicate(timeout=90)
        assert third.returncode == 0, error
        assert len(server.audiences["vips"]) == PEOPLE
