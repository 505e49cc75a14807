"""The disk under spools and journals fills up at any moment: exit 5, one sentence, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from revetl.errors import DiskError
from tests.helpers.gate import Answer, Seen, gate
from tests.helpers.project import ProjectFolder

QUERY = "select 'u' || i as user_id, i as score from range({0}) as numbers (i)"
META = {"key": "user_id", "sync": [{"to": "crm"}]}
PEOPLE = 60


class Disk:
    """A small file system of its own, and a file on it that takes all there is left."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte."""
        try:
            with self._filler.open("ab", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4_096)
        except OSError:
            return

    def free(self) -> None:
        """Take the filler away."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """What `.revetl` is on, of the project `shop`."""
    made = Disk(tmp_path / "shop" / ".revetl")
    yield made
    made.close()


@pytest.mark.parametrize(
    "full_at",
    [None, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in (0, 4, 5))],
    ids=["before", "2nd request", "1st request", "5th request", "last request"],
)
def test_a_disk_that_fills_up_loses_nobody(tmp_path: Path, disk: Disk, full_at: int | None) -> None:
    held: dict[str, int] = {}
    sent: list[str] = []
    full = [True]

    def rule(seen: Seen) -> Answer:
        batch: Any = seen.json
        sent.extend(record["id"] for record in batch["records"])
        held.update({record["id"]: record["fields"]["score"] for record in batch["records"]})
        if full[0] and seen.number == full_at:
            disk.fill()
        return Answer()

    with gate(rule) as here:
        config = {"type": "webhook", "url": here.url, "batch_size": 10, "max_in_flight": 1}
        project = ProjectFolder(tmp_path / "shop", {"crm": config})
        project.audience("vips", QUERY.format(PEOPLE), META)
        if full_at is None:
            disk.fill()
        first = _ended(project)
        told = len(held)
        # On a disk that is still full, a run says so again, and takes nothing for lost.
        disk.fill()
        second = _ended(project)[:2]
        full[0] = False
        disk.free()
        (last,) = project.open().sync("vips")
        (nothing,) = project.open().sync("vips")
    assert first[:2] == second == ("crashed", 5)
    assert "the disk is full" in first[2]
    assert told == (0 if full_at is None else 10 * (full_at + 1))
    assert (last.status, held) == ("success", {f"u{i}": i for i in range(PEOPLE)})
    assert (nothing.status, nothing.planned) == ("success", {"remove": 0, "update": 0, "add": 0})
    # Only the batch whose answer could not be written is sent again.
    twice = [key for key, times in Counter(sent).items() if times > 1]
    assert len(twice) <= 10
    assert not [run for run in project.open().history() if run["status"] == "running"]


def _ended(project: ProjectFolder) -> tuple[str, int, str]:
    """Status, exit code and error of a run, also of one that could not book its end."""
    try:
        (run,) = project.open().sync("vips")
    except DiskError as error:
        return "crashed", error.exit_code, str(error)
    return run.status, run.exit_code, str(run.error)
