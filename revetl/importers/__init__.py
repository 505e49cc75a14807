"""Imports the setup of another reverse ETL tool as models, YAML and destinations of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from revetl.importers.census import read_census
from revetl.importers.found import Note, Reader
from revetl.importers.hightouch import read_hightouch
from revetl.importers.writing import ImportResult, made_of, write
from revetl.project.workspace import Workspace

__all__ = ["READERS", "ImportResult", "Note", "import_export"]

READERS: Mapping[str, Reader] = {"hightouch": read_hightouch, "census": read_census}
"""The tools whose exports can be imported."""


def import_export(workspace: Workspace, tool: str, folder: Path, *, writes: bool) -> ImportResult:
    """Convert a tool's export in `folder` to this project: files, entries of revetl.yml, and notes about what
    couldn't be converted. With `writes`, the files are written.

    Raises UsageError, writing nothing, if the folder contains no export of the tool, or a file or model
    already exists.
    """
    made = made_of(workspace, READERS[tool](folder))
    if writes:
        write(made)
    return made
