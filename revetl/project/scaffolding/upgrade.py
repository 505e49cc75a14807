"""`revetl init --upgrade`: upgrade a project's copy of the package to this version of revetl."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from revetl.config.base import read_yaml
from revetl.dbt.project_files import DbtProject
from revetl.errors import UsageError
from revetl.project.scaffolding import SCAFFOLD, edits
from revetl.project.scaffolding.former import EXAMPLES, FormerName, uses
from revetl.project.scaffolding.guest import FileChange
from revetl.project.scaffolding.vendored import (
    VENDORED,
    Copy,
    CopyDiff,
    copy_package,
    difference_to,
    read_copy,
)

_LISTS = ("cut_edges", "blocked_identifiers")
_RENAMED_SINCE = (0, 2)
_FIXED_SCHEMAS = {"state_schema": "revetl", "raw_schema": "raw"}
"""The default schemas of version 0.1.0."""


@dataclass(frozen=True)
class Upgrade:
    """The plan of an upgrade: the copy to replace, the files that differ, the project's files to change or
    add, former names that the user has to replace, and notes."""

    root: Path
    copy: Copy
    difference: CopyDiff
    changes: tuple[FileChange, ...]
    uses: tuple[FormerName, ...]
    notes: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether the copy is up to date."""
        there = self.difference
        return not (there.added or there.changed or there.removed or self.changes) and self.copy.is_recorded


def plan_upgrade(project: DbtProject, *, force: bool = False, with_examples: bool = False) -> Upgrade:
    """Plan the upgrade of a project's copy. Raises UsageError if there is no copy, and, without `force`, if
    its files were edited or that can't be determined."""
    root = project.root
    copy = read_copy(root)
    if copy is None:
        raise UsageError(
            f"{root}: there is no copy of revetl's package in {VENDORED.as_posix()}. Run `revetl init "
            "--here` to add one. If packages.yml has a git repository or a tarball, change its revision or "
            "URL and run `dbt deps`."
        )
    if not force:
        _check_unedited(copy)
    is_former = _numbers(copy.version) < _RENAMED_SINCE
    changes: list[FileChange] = []
    notes: list[str] = []
    if is_former:
        changes += _carried_over(project)
        notes += _former_notes(root, with_examples=with_examples)
    if with_examples:
        changes += _examples(root)
    return Upgrade(
        root=root,
        copy=copy,
        difference=difference_to(copy),
        changes=tuple(changes),
        uses=tuple(uses(root)) if is_former else (),
        notes=tuple(notes),
    )


def upgrade(plan: Upgrade) -> None:
    """Apply an upgrade."""
    copy_package(plan.root)
    for each in plan.changes:
        (plan.root / each.file).parent.mkdir(parents=True, exist_ok=True)
        (plan.root / each.file).write_bytes(each.after)


def _check_unedited(copy: Copy) -> None:
    place = VENDORED.as_posix()
    out = (
        "Move the edits into the project (docs/how-to/adopting.md, `Overrides`), or use --force to replace "
        "the files with those of this version."
    )
    if copy.original is None:
        raise UsageError(
            f"{place} is version {copy.version} and has no record of the files as copied, so edits cannot be "
            "detected. Check its history in version control, or use --force to replace it."
        )
    if copy.edited and copy.is_recorded:
        raise UsageError(f"{place} has edits: {', '.join(copy.edited)}. {out}")
    if copy.edited:
        raise UsageError(
            f"{place} has no record of the files as copied. These files differ from version {copy.version}: "
            f"{', '.join(copy.edited)}. They were edited, or are from a build before {copy.version}. {out}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _carried_over(project: DbtProject) -> Iterator[FileChange]:
    """Yield dbt_project.yml with the default schemas of 0.1.0 set explicitly and the project's own lists set
    as variables. Seeds keep their names."""
    file = project.root / "dbt_project.yml"
    before = file.read_bytes()
    document = read_yaml(file, unique=False)
    text = before.decode("utf-8")
    schemas = {
        name: value
        for name, value in _FIXED_SCHEMAS.items()
        if edits.entry_at(document, ("vars", "revetl", name)) is None
        and edits.entry_at(document, ("vars", name)) is None
    }
    if schemas:
        lines = [
            "# The schemas of version 0.1.0, so that loaded events and sync state stay where they are.",
            *(f"{name}: {value}" for name, value in schemas.items()),
        ]
        text = edits.with_entries(text, ("vars", "revetl"), "\n".join(lines), file.name)
    own = [name for name in _LISTS if any(_seeds(project.root, document, name))]
    named = [name for name in own if edits.entry_at(document, ("vars", "revetl", name)) is None]
    if named:
        lines = ["# The project's own lists for identity resolution.", *(f"{name}: {name}" for name in named)]
        text = edits.with_entries(text, ("vars", "revetl"), "\n".join(lines), file.name)
    for name in _LISTS:
        text = edits.without(text, ("seeds", "revetl", name), file.name)
    if text.encode() != before:
        yield FileChange(Path(file.name), before, text.encode())


def _seeds(root: Path, document: object, name: str) -> Iterator[Path]:
    written = edits.entry_at(document, ("seed-paths",)) or ["seeds"]
    for path in [written] if isinstance(written, str) else written:
        yield from (root / path).rglob(f"{name}.csv")


def _former_notes(root: Path, *, with_examples: bool) -> Iterator[str]:
    if not with_examples:
        yield (
            f"The example audiences ({', '.join(EXAMPLES)}) are no longer part of the package. If you sync "
            "them, use `--with-examples` to add the models to models/audiences and keep the syncs, or "
            "`revetl retire` to end them."
        )
    if "history: true" in (root / "dbt_project.yml").read_text(encoding="utf-8"):
        yield (
            "The snapshot trait_history is now revetl_trait_history. To keep its history, rename the table "
            "before the next build: alter table SCHEMA.trait_history rename to revetl_trait_history"
        )
    yield (
        "Tables and views with the former names stay in the warehouse and are no longer built. "
        "docs/how-to/adopting.md explains how to find and drop them."
    )


def _examples(root: Path) -> Iterator[FileChange]:
    """Yield the example audiences as files of the project. Raises UsageError if it has a model with such a
    name."""
    folder = Path("models", "audiences")
    for name in EXAMPLES:
        for file in (root / "models").rglob(f"{name}.sql"):
            raise UsageError(f"--with-examples: {file.relative_to(root)} already exists. Omit the option.")
    for file in sorted((SCAFFOLD / folder).iterdir()):
        if file.stem in EXAMPLES or file.name == "_examples.yml":
            yield FileChange(folder / file.name, None, file.read_bytes())
