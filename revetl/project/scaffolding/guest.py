"""`revetl init --here`: add revetl to an existing dbt project, and undo that.

Changes are planned as file contents before and after, shown as a diff, and recorded in `.revetl/init.json`,
so that they can be undone byte for byte. Models are never changed.
"""

from __future__ import annotations

import base64
import difflib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from revetl._version import __version__
from revetl.config.base import read_yaml
from revetl.dbt.project_files import DbtProject
from revetl.errors import UsageError, nearest
from revetl.local.paths import dbt_project_dir
from revetl.project.scaffolding import MINIMAL, edits
from revetl.project.scaffolding.vendored import (
    PACKAGE_PARTS,
    VENDORED,
    copy_package,
    read_copy,
)

NOTES = Path(".revetl", "init.json")
PACKAGE = "revetl"
_FILES_OF_PACKAGES = ("dependencies.yml", "packages.yml")
_COMMENT = """\
# A copy of revetl's models in this repository, so that every change to them is reviewed. Run
# `revetl init --upgrade` to upgrade the copy to the installed version of revetl.
"""
_VARS = """\
# true: build from a few sample events until your first events are loaded.
sample_events: false
"""


@dataclass(frozen=True)
class PackageSource:
    """The source of the dbt package: `vendor` (a copy in the project), `local`, `tarball` or `git`."""

    kind: str = "vendor"
    value: str = VENDORED.as_posix()
    revision: str | None = None
    subdirectory: str | None = None

    def entry(self, root: Path) -> str:
        """Return the item of packages.yml, as YAML."""
        if self.kind == "git":
            lines = [f"git: {json.dumps(self.value)}", f"revision: {json.dumps(self.revision)}"]
            lines += [f"subdirectory: {json.dumps(self.subdirectory)}"] if self.subdirectory else []
        elif self.kind == "tarball":
            lines = [f"tarball: {json.dumps(self.value)}", f"name: {PACKAGE}"]
        elif self.kind == "local":
            path = Path(self.value).expanduser()
            shown = path.as_posix() if path.is_absolute() else Path(os.path.relpath(path, root)).as_posix()
            lines = [f"local: {json.dumps(shown) if ' ' in shown else shown}"]
        else:
            lines = [f"local: {self.value}"]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class FileChange:
    """A file of the project, by relative path: its content before (None if it doesn't exist) and after."""

    file: Path
    before: bytes | None
    after: bytes


@dataclass(frozen=True)
class Adoption:
    """The plan of `init --here`: files to write, whether to copy the package into the project, and notes on
    what is left to the user."""

    root: Path
    changes: tuple[FileChange, ...]
    has_copy: bool = False
    notes: tuple[str, ...] = ()


def package_source(
    given: str | None, revision: str | None = None, subdirectory: str | None = None
) -> PackageSource:
    """Parse --package, --revision and --subdirectory. Raises UsageError for values that dbt would reject."""
    kind, _, value = (given or "vendor").partition(":")
    if kind not in {"vendor", "local", "tarball", "git"}:
        raise UsageError(
            f"--package '{given}': use vendor, local:PATH, tarball:URL or git:URL. "
            f"{nearest(kind, ('vendor', 'local', 'tarball', 'git'))}"
        )
    if kind != "vendor" and not value:
        raise UsageError(
            f"--package {kind}: has no value. Use {kind}:{'PATH' if kind == 'local' else 'URL'}."
        )
    if kind != "git" and (revision or subdirectory):
        raise UsageError("--revision and --subdirectory require --package git:URL.")
    if kind == "git" and not revision:
        raise UsageError(
            "--package git: requires --revision (a tag, branch or commit), so that builds are reproducible."
        )
    if kind == "local":
        document = Path(value).expanduser() / "dbt_project.yml"
        name = (read_yaml(document, unique=False) or {}).get("name") if document.is_file() else None
        if name != PACKAGE:
            raise UsageError(
                f"--package local:{value}: does not contain the dbt_project.yml of the package '{PACKAGE}'. "
                "Use the folder of revetl's dbt package."
            )
    return PackageSource() if kind == "vendor" else PackageSource(kind, value, revision, subdirectory)


def plan_minimal(project: DbtProject) -> Adoption:
    """Plan to add only revetl.yml, if it doesn't exist: reverse ETL doesn't need the package."""
    return Adoption(project.root, tuple(_revetl_yml(project.root)))


def plan_adoption(project: DbtProject, source: PackageSource, warehouse: str | None) -> Adoption:
    """Plan to add revetl to a dbt project. `warehouse` is its dbt adapter type, if known. Raises UsageError
    if the project already has the package, and for files that can't be edited in place."""
    root = project.root
    _check_free(project, source)
    file = _file_of_packages(root)
    text = _text(root / file) if (root / file).exists() else None
    if text is None:
        item = source.entry(root).rstrip("\n").replace("\n", "\n    ")
        made = f"{_COMMENT if source.kind == 'vendor' else ''}packages:\n  - {item}\n"
    else:
        made = edits.with_item(text, "packages", source.entry(root), file)
    project_text = _text(root / "dbt_project.yml")
    document = read_yaml(root / "dbt_project.yml", unique=False)
    notes: list[str] = []
    edited = project_text
    if edits.entry_at(document, ("vars", PACKAGE, "sample_events")) is None:
        edited = edits.with_entries(edited, ("vars", PACKAGE), _VARS, "dbt_project.yml")
    if warehouse == "spark":
        edited, dispatch_notes = _dispatched(edited, document, project.name)
        notes += dispatch_notes
    changes = [
        FileChange(Path(file), None if text is None else text.encode(), made.encode()),
        FileChange(Path("dbt_project.yml"), project_text.encode(), edited.encode()),
        *_revetl_yml(root),
    ]
    return Adoption(
        root,
        tuple(each for each in changes if each.before != each.after),
        source.kind == "vendor",
        tuple(notes),
    )


def _check_free(project: DbtProject, source: PackageSource) -> None:
    root = project.root
    if project.name == PACKAGE:
        raise UsageError(f"{root}: this is the package '{PACKAGE}' itself. Choose another folder.")
    for file in _FILES_OF_PACKAGES:
        for each in _packages_in(root / file):
            if names_package(each):
                raise UsageError(
                    f"{file}: already contains revetl. Run `revetl init --upgrade` to upgrade a copy in "
                    f"{VENDORED.as_posix()}."
                )
    if source.kind != "vendor":
        return
    if (root / VENDORED).exists():
        raise UsageError(
            f"{VENDORED.as_posix()} already exists. Remove the folder, or use --package local:PATH."
        )
    for path in project.model_paths:
        if (root / path).resolve() == root.resolve():
            raise UsageError(
                "dbt_project.yml: model-paths contains the project's root, so dbt would read a copy of the "
                "package as the project's own models. Use --package git:URL, tarball:URL or local:PATH."
            )


def names_package(entry: Mapping[str, Any]) -> bool:
    """Whether an item of packages.yml is revetl's package, by its name or the end of its path or URL."""
    if entry.get("name") == PACKAGE:
        return True
    ends = (str(entry.get(kind, "")) for kind in ("local", "git", "tarball", "package"))
    names = (PurePosixPath(urlsplit(end).path.rstrip("/")).name for end in ends)
    return any(name.removesuffix(".git").removesuffix(".tar.gz") == PACKAGE for name in names)


def _packages_in(file: Path) -> list[Mapping[str, Any]]:
    document = read_yaml(file, unique=False) if file.is_file() else None
    found = edits.entry_at(document, ("packages",))
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _file_of_packages(root: Path) -> str:
    """Return the file that lists the project's packages: the one with `packages`, else an existing one."""
    there = [file for file in _FILES_OF_PACKAGES if (root / file).is_file()]
    for file in there:
        document = read_yaml(root / file, unique=False)
        if isinstance(document, Mapping) and "packages" in document:
            return file
    return there[-1] if there else "packages.yml"


def _revetl_yml(root: Path) -> Iterator[FileChange]:
    if not (root / "revetl.yml").exists():
        yield FileChange(Path("revetl.yml"), None, (MINIMAL / "revetl.yml").read_bytes())


def _dispatched(text: str, document: Mapping[str, Any], name: str) -> tuple[str, list[str]]:
    """Dispatch dbt's macros through revetl's, which Spark needs to load seeds, unless the project already
    configures dispatch for dbt."""
    there = document.get("dispatch") or []
    if not any(isinstance(each, Mapping) and each.get("macro_namespace") == "dbt" for each in there):
        body = f"macro_namespace: dbt\nsearch_order: [{name}, {PACKAGE}, dbt]\n"
        return edits.with_item(text, "dispatch", body, "dbt_project.yml"), []
    return text, [
        f"dbt_project.yml: dispatch already has an entry for dbt. Add {PACKAGE} to its search_order, before "
        "dbt: Spark can load seeds only with revetl's macros."
    ]


def unified(changes: Iterable[FileChange]) -> str:
    """Format changes as a unified diff."""
    lines: list[str] = []
    for each in changes:
        name = each.file.as_posix()
        before = _decoded(each.before).splitlines(keepends=True)
        after = _decoded(each.after).splitlines(keepends=True)
        from_name = "/dev/null" if each.before is None else f"a/{name}"
        lines += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, from_name, f"b/{name}")
        ]
    return "".join(lines)


def copied_files() -> int:
    """Count the files of the package's copy."""
    parts = [dbt_project_dir() / part for part in PACKAGE_PARTS]
    return sum(1 if part.is_file() else sum(file.is_file() for file in part.rglob("*")) for part in parts)


def adopt(plan: Adoption) -> None:
    """Apply the plan, after writing its record. Raises UsageError if there is a record already."""
    if (plan.root / NOTES).exists():
        raise UsageError(
            f"{NOTES.as_posix()} already exists. Run `revetl init --here --undo` first to undo the earlier "
            "`--here`."
        )
    record = {
        "revetl": __version__,
        "has_copy": plan.has_copy,
        "files": [
            {
                "file": each.file.as_posix(),
                "before": None if each.before is None else base64.b64encode(each.before).decode(),
                "after": base64.b64encode(each.after).decode(),
            }
            for each in plan.changes
        ],
    }
    folder = (plan.root / NOTES).parent
    folder.mkdir(exist_ok=True)
    if not (folder / ".gitignore").exists():
        # The folder contains local state, including personal data of runs in progress.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    (plan.root / NOTES).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if plan.has_copy:
        copy_package(plan.root)
    for each in plan.changes:
        (plan.root / each.file).write_bytes(each.after)


def undo(root: Path) -> list[str]:
    """Undo `adopt`, byte for byte. Returns what was restored and removed. Raises UsageError, without changing
    anything, if files were edited since."""
    notes = root / NOTES
    if not notes.is_file():
        raise UsageError(
            f"{NOTES.as_posix()} does not exist: there is no record of `revetl init --here` in this folder. "
            "Remove revetl from the project manually."
        )
    record = json.loads(notes.read_text(encoding="utf-8"))
    files = [
        FileChange(
            Path(each["file"]),
            None if each["before"] is None else base64.b64decode(each["before"]),
            base64.b64decode(each["after"]),
        )
        for each in record["files"]
    ]
    edited = [
        f"{each.file.as_posix()}{'' if (root / each.file).exists() else ' (removed)'}"
        for each in files
        if not (root / each.file).exists() or (root / each.file).read_bytes() != each.after
    ]
    copied = read_copy(root) if record["has_copy"] else None
    if copied is not None:
        edited += [f"{VENDORED.as_posix()}/{each}" for each in copied.edited]
    if edited:
        raise UsageError(
            f"Nothing was undone, because these files were edited since: {', '.join(edited)}. Revert the "
            "edits, or remove revetl from the project manually."
        )
    done = []
    for each in files:
        if each.before is None:
            (root / each.file).unlink()
        else:
            (root / each.file).write_bytes(each.before)
        done.append(f"{each.file.as_posix()} {'removed' if each.before is None else 'restored'}")
    if copied is not None:
        shutil.rmtree(root / VENDORED)
        if not any((root / VENDORED.parent).iterdir()):
            (root / VENDORED.parent).rmdir()
        done.append(f"{VENDORED.as_posix()} removed")
    notes.unlink()
    if [file.name for file in notes.parent.iterdir()] == [".gitignore"]:
        shutil.rmtree(notes.parent)
    return done


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file.name}: is not UTF-8. Save it as UTF-8.") from error


def _decoded(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8")
