"""The half of a second opinion that is ours: an audience, synced to the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.project import ProjectFolder


def synced_by_us(folder: Path, config: dict[str, Any], people: str, sync: dict[str, Any]) -> ProjectFolder:
    """A project whose audience `vips` went to the destination `ours`, which refused one record of it."""
    project = ProjectFolder(folder, {"ours": config})
    entry = {"to": "ours", "max_change": "200%", **sync}
    project.audience("vips", people, {"key": "user_id", "sync": [entry]})
    (run,) = project.open().sync("vips")
    assert run.rejected["add"] == 1
    return project
