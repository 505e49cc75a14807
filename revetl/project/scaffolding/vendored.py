"""The copy of the dbt package in a project, `vendor/revetl`. A record with the version and the checksum of
each file lets an upgrade detect edits."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from revetl._version import __version__
from revetl.config.base import read_yaml
from revetl.errors import UsageError
from revetl.local.paths import dbt_project_dir

PACKAGE_PARTS = ("dbt_project.yml", "models", "macros", "seeds", "snapshots")
VENDORED = Path("vendor", "revetl")
RECORD = ".revetl-package.json"
_KNOWN = Path(__file__).parent / "package_versions.json"
"""Version to file to checksum, for versions whose copies have no record."""


@dataclass(frozen=True)
class Copy:
    """A copy of the package: its version, and file to checksum. `original` has the checksums as copied; None
    if unknown."""

    version: str
    files: Mapping[str, str]
    original: Mapping[str, str] | None
    is_recorded: bool

    @property
    def edited(self) -> list[str]:
        """The files that differ from the original, each with the kind of change."""
        original = self.original or {}
        changed = [
            f"{name} (changed)"
            for name in self.files
            if original.get(name, self.files[name]) != self.files[name]
        ]
        added = [f"{name} (added)" for name in self.files if name not in original]
        removed = [f"{name} (removed)" for name in original if name not in self.files]
        return sorted(changed + added + removed)


@dataclass(frozen=True)
class CopyDiff:
    """The files that differ between a newer package and a copy."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def copy_package(folder: Path) -> Path:
    """Copy this version's dbt package to `folder/vendor/revetl`, replacing an existing copy."""
    vendored = folder / VENDORED
    if vendored.exists():
        shutil.rmtree(vendored)
    vendored.mkdir(parents=True)
    for part in PACKAGE_PARTS:
        source = dbt_project_dir() / part
        if source.is_dir():
            shutil.copytree(source, vendored / part)
        else:
            shutil.copy(source, vendored / part)
    record = {"version": __version__, "files": checksums(vendored)}
    (vendored / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return vendored


def read_copy(folder: Path) -> Copy | None:
    """Read the copy in a project; None if there is none. Raises UsageError if its record can't be read."""
    vendored = folder / VENDORED
    if not (vendored / "dbt_project.yml").is_file():
        return None
    version = str((read_yaml(vendored / "dbt_project.yml", unique=False) or {}).get("version", "unknown"))
    files = checksums(vendored)
    if not (vendored / RECORD).is_file():
        return Copy(version, files, _known().get(version), is_recorded=False)
    try:
        record = json.loads((vendored / RECORD).read_text(encoding="utf-8"))
        return Copy(str(record["version"]), files, dict(record["files"]), is_recorded=True)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{VENDORED / RECORD}: is not a valid record: {error}. Restore it from version control, or use "
            "--force to replace the copy with all its edits."
        ) from error


def difference_to(copy: Copy) -> CopyDiff:
    """Compare this version's package with a copy."""
    ours = package_checksums()
    return CopyDiff(
        added=tuple(sorted(set(ours) - set(copy.files))),
        changed=tuple(sorted(name for name in set(ours) & set(copy.files) if ours[name] != copy.files[name])),
        removed=tuple(sorted(set(copy.files) - set(ours))),
    )


def checksums(folder: Path) -> dict[str, str]:
    """Map each file, as a relative path with slashes, to the SHA-256 of its content with normalized line
    endings. Leftovers of editors, git and dbt are ignored."""
    return {
        file.relative_to(folder).as_posix(): checksum(file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != RECORD and not _is_leftover(file.relative_to(folder))
    }


def package_checksums() -> dict[str, str]:
    """Return the checksums of this version's package."""
    root = dbt_project_dir()
    found: dict[str, str] = {}
    for part in PACKAGE_PARTS:
        if (root / part).is_dir():
            found |= {f"{part}/{name}": made for name, made in checksums(root / part).items()}
        else:
            found[part] = checksum((root / part).read_bytes())
    return found


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a text file with normalized line endings."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _is_leftover(path: Path) -> bool:
    first, name = path.parts[0], path.name
    return first in {"target", "logs", "dbt_packages"} or name in {".DS_Store", "Thumbs.db", ".user.yml"}


@cache
def _known() -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = json.loads(_KNOWN.read_text(encoding="utf-8"))
    return known
