"""The content of an export in a common form: models, and the syncs of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from revetl.errors import UsageError


@dataclass(frozen=True)
class Note:
    """Something that couldn't be converted: the export's file, the key in it, and why."""

    file: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.why}"


@dataclass
class FoundSync:
    """A sync to destination `to`, whose type in the tool is `kind`. `fields`, `identifiers` and `constants`
    use the destination's names; `source` is the export's file."""

    source: str
    to: str
    kind: str | None
    mode: str
    object: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    set_if_empty: list[str] = field(default_factory=list)
    skips_nulls: bool = False
    event: str | None = None
    timestamp: str | None = None
    tags: list[str] = field(default_factory=list)
    takes_all_columns: bool = False


@dataclass
class FoundModel:
    """A model: its SQL, a dbt model (`ref`), or a table; and its syncs."""

    source: str
    name: str
    key: str | None
    sql: str | None = None
    ref: str | None = None
    table: str | None = None
    description: str = ""
    syncs: list[FoundSync] = field(default_factory=list)


@dataclass
class Export:
    """The content of an export, and notes about what couldn't be read."""

    tool: str
    models: list[FoundModel] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def note(self, file: str, key: str, why: str) -> None:
        self.notes.append(Note(file, key, why))

    @contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Parse a document: if its format isn't the tool's, it is noted and skipped."""
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            self.note(file, "all of it", f"is not in {self.tool}'s format ({error}); it is skipped")


Reader = Callable[[Path], Export]


def leave_nulls_out(sync: FoundSync, skipping: Iterable[bool | None], key: str, found: Export) -> None:
    """Make a sync skip nulls if all of its fields do; add a note if only some do."""
    said = [skips for skips in skipping if skips is not None]
    sync.skips_nulls = bool(said) and all(said)
    if any(said) and not sync.skips_nulls:
        found.note(sync.source, key, "only some skip nulls, but null: applies to the whole sync")


@dataclass(frozen=True)
class Resource:
    """One resource of an export, and its file."""

    file: str
    data: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """Return its name in other files: its slug, or its file's name if the file contains only this
        resource."""
        own = Path(self.file)
        said = self.data.get("slug") or (own.stem if own.parent.name else self.data.get("name"))
        return str(said or own.stem)


def documents(folder: Path, *names: str) -> Iterator[Resource]:
    """Yield the resources in `folder/NAME.yaml` (or .yml, .json), and in all such files below `folder/NAME/`:
    one per file, a list of them, an API response with a list under `data` or under the name itself, or
    resources by slug. Raises UsageError for a file that is neither YAML nor JSON."""
    for name in names:
        files = [folder / f"{name}{end}" for end in (".yaml", ".yml", ".json")]
        files += sorted(
            file for file in (folder / name).rglob("*") if file.suffix in {".yaml", ".yml", ".json"}
        )
        for file in files:
            if file.is_file():
                shown = str(file.relative_to(folder))
                for each in _resources(_read(file), name):
                    if not isinstance(each, Mapping):
                        raise UsageError(f"{file}: contains '{each}' instead of a {name.rstrip('s')}.")
                    yield Resource(shown, each)


def _resources(read: Any, name: str) -> list[Any]:
    # A manifest also lists sources.
    for key in ("data", "destinations" if name.startswith("manifest") else name):
        if isinstance(read, Mapping) and isinstance(read.get(key), list | dict):
            read = read[key]
    if isinstance(read, Mapping) and read and all(isinstance(each, Mapping) for each in read.values()):
        # All keys are resources: a single resource would also have texts among its values.
        read = [{"slug": slug, **each} for slug, each in read.items()]
    if read is None:
        return []
    return read if isinstance(read, list) else [read]


def _read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        return orjson.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (orjson.JSONDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{file}: invalid {file.suffix[1:]} ({reason}).") from None


def named(text: str) -> str:
    """Return a valid name for dbt and revetl.yml: lowercase letters, digits and underscores."""
    words = re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_") or "unnamed"
    return f"_{words}" if words[0].isdigit() else words


def column(name: str) -> str:
    """Return a column as an expression, quoted unless it is a plain name."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def is_template(value: object) -> bool:
    """Whether a text contains Liquid or Jinja."""
    return isinstance(value, str) and bool(re.search(r"\{\{|\{%|\{#", value))
