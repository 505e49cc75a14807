"""Imports models, syncs and destinations from other reverse ETL tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from revetl.importers.census import read_census
from revetl.importers.found import Note, Reader
from revetl.importers.hightouch import read_hightouch
from revetl.importers.writing import Imported, made_of, write
from revetl.project.workspace import Workspace

__all__ = ["READERS", "Imported", "Note", "import_export"]

READERS: Mapping[str, Reader] = {"hightouch": read_hightouch, "census": read_census}
"""The tools whose exports can be read."""


def import_export(workspace: Workspace, tool: str, folder: Path, *, writes: bool) -> Imported:
    """What the export of a tool in `folder` comes to in this project: the files, the entries of revetl.yml,
    and what could not be carried over. With `writes`, the files are written.

    Raises UsageError for a folder that has no export of the tool in it, and for a file or a model that is
    there already; nothing is written then.
    """
    made = made_of(workspace, READERS[tool](folder))
    if writes:
        write(made)
    return made
