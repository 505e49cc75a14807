"""What was set up in another reverse ETL tool, as models, their YAML and destinations of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from revetl.importing.census import read_census
from revetl.importing.found import Note, Reader
from revetl.importing.hightouch import read_hightouch
from revetl.importing.writing import Imported, made_of, write
from revetl.project import Workspace

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
