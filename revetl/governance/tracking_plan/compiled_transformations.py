"""Compile the transformations to a dbt macro, which the package's staging models read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from revetl.errors import UsageError
from revetl.governance.tracking_plan.derived import derived_sql
from revetl.governance.tracking_plan.macro_file import MacroFile, macro_of
from revetl.governance.transformations import (
    TRANSFORMATIONS_FILE,
    Transformation,
    TransformationsFile,
    read_transformations,
)

FORM = 1
"""The version of the value that the macro `transformations` returns; the package's macros check it."""


class CompiledTransformations(MacroFile):
    """A project's `transformations.yaml` and its compiled macro file."""

    source_name = TRANSFORMATIONS_FILE
    macro_name = "transformations"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.file = read_transformations(root)

    @property
    def text(self) -> str:
        return macro_of(self.macro_name, self.source_name, compile_transformations(self.file))

    @property
    def is_needed(self) -> bool:
        """Whether there are transformations to compile, or a compiled macro to empty."""
        if self.file.transformations:
            return True
        return self.path.is_file() and "'entries': []" not in self.path.read_text(encoding="utf-8")


def compile_transformations(file: TransformationsFile) -> dict[str, Any]:
    """Compile transformations to the value that the package's macros read. Raises UsageError for SQL whose
    type can't be inferred."""
    entries = []
    for index, each in enumerate(file.transformations):
        try:
            entries.append(_compiled(each))
        except UsageError as error:
            raise UsageError(f"{TRANSFORMATIONS_FILE}: transformations.{index}: {error}") from None
    text = repr(entries)
    return {
        "form": FORM,
        "hash": hashlib.sha256(text.encode()).hexdigest()[:16] if entries else "",
        "entries": entries,
    }


def _compiled(entry: Transformation) -> dict[str, Any]:
    values = {
        name: {
            "path": name.split("."),
            "from": [path.split("."), name.split(".")],
            "cast": entry.cast.get(name),
        }
        for name, path in entry.renamed.items()
    }
    for path, cast in entry.cast.items():
        values.setdefault(path, {"path": path.split("."), "from": [path.split(".")], "cast": cast})
    return {
        "type": entry.message_type,
        "events": list(entry.named),
        "source": entry.source,
        "event_text": entry.rename_event and entry.rename_event.strip(),
        "event": entry.rename_event and snake_case(entry.rename_event),
        "values": list(values.values()),
        "dropped": [path.split(".") for path in entry.drop],
        "derived": [_derived(name, entry) for name in entry.derive],
    }


def _derived(name: str, entry: Transformation) -> dict[str, Any]:
    made = derived_sql(name, entry.derive[name], entry.cast)
    renamed = entry.renamed
    return {
        "name": name,
        "type": made.type,
        "reads": [
            {
                # A property that isn't renamed yet has its old name.
                "from": [path.split(".") for path in (renamed.get(each.path), each.path) if path],
                "type": each.type,
            }
            for each in made.reads
        ],
        "sql": dict(made.sql),
    }


def snake_case(name: str) -> str:
    """Convert an event's name as Segment's warehouses do: `Order Completed` to `order_completed`."""
    humps = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", humps.lower()).strip("_")
