"""`revetl identity cut`: a row of the project's seed of cuts, which the first one creates."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from revetl.dbt import identity_lists
from revetl.errors import UsageError
from revetl.inspect.identity.find import (
    Identifier,
    identifiers_by_id,
    identifiers_called,
    listed,
)
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse

SEED = "cut_edges"
COLUMNS = identity_lists.COLUMNS[SEED]
PACKAGE = "revetl"
_NEW_FILE_MODE = 0o644
_TYPES = """\
version: 2

seeds:
  - name: $name
    description: >-
      Pairs of identifiers that are never one person's. One row per pair; `revetl identity cut` adds one.
    config:
      # dbt would guess numbers, and lose the zeros that ids begin with.
      column_types:
        left_type: &text >-
          {{ {'spark': 'string', 'databricks': 'string', 'bigquery': 'string', 'redshift': 'varchar(65535)',
          'fabric': 'varchar(8000)'}.get(target.type, 'varchar') }}
        left_value: *text
        right_type: *text
        right_value: *text
        cut_at: *text
        reason: *text
"""


@dataclass(frozen=True)
class CutMade:
    """What became of a cut. `seed_name` is the seed's name; `is_unread` says that no variable names it yet,
    so that the models do not read it."""

    left: str
    right: str
    seed: Path
    is_new: bool
    were_one_profile: bool
    seed_name: str
    is_unread: bool


def cut(workspace: Workspace, left: str, right: str, reason: str | None = None) -> CutMade:
    """Record that two identifiers are not one person's: one row more in the project's seed of cuts, unless it
    is there already. A seed that is created gets its column types beside it. Each is `type:value`, or a value
    that one identifier has. Raises UsageError for one that is not known, is a canonical id, or may be
    several, for an identifier cut from itself, and for a seed that lacks a column."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        ends = [_identifier(workspace, warehouse, asked) for asked in (left, right)]
    finally:
        warehouse.close()
    one, other = ends
    if one.identifier_id == other.identifier_id:
        raise UsageError(f"{one.named} cannot be cut from itself. Name two identifiers.")
    name, is_unread = _seed_name(workspace)
    seed = _seed_file(workspace, name)
    is_first = not seed.exists()
    is_new = _append(seed, one, other, reason)
    if is_first:
        _replace(seed.with_suffix(".yml"), Template(_TYPES).substitute(name=name).encode())
    return CutMade(
        left=one.named,
        right=other.named,
        seed=seed.relative_to(workspace.root),
        is_new=is_new,
        were_one_profile=one.canonical_id == other.canonical_id,
        seed_name=name,
        is_unread=is_unread,
    )


def _identifier(workspace: Workspace, warehouse: Warehouse, asked: str) -> Identifier:
    found = identifiers_called(workspace, warehouse, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{asked}' may be {listed(found)}. Write the one you mean as type:value.")
    if by_id := identifiers_by_id(workspace, warehouse, asked):
        (own,) = by_id
        raise UsageError(
            f"'{asked}' is the id of a profile, and a cut is between identifiers. Write such as {own.named}; "
            f"`revetl identity show {asked}` has all of the profile's."
        )
    raise UsageError(
        f"No event has the identifier '{asked}'. Write type:value with the value as the events have it, "
        "and run `dbt build` when it has landed since the last one."
    )


def _seed_name(workspace: Workspace) -> tuple[str, bool]:
    """The name of the project's seed of cuts, and whether the models do not read it yet: they read what the
    variable names, and else the package's own."""
    if workspace.dbt.name == PACKAGE:
        return f"{PACKAGE}_{SEED}", False
    named = workspace.dbt.variable(SEED, "")
    return named or SEED, not named


def _seed_file(workspace: Workspace, name: str) -> Path:
    """The file of the project's seed `name`, in the first of its seed paths when there is none yet."""
    folders = [workspace.root / path for path in workspace.dbt.seed_paths]
    found = sorted(file for folder in folders for file in folder.rglob(f"{name}.csv"))
    return found[0] if found else folders[0] / f"{name}.csv"


def _append(seed: Path, left: Identifier, right: Identifier, reason: str | None) -> bool:
    """Write one row more; False, and nothing, when the pair is there, in whichever order."""
    before = seed.read_bytes() if seed.exists() else b""
    text = before.decode("utf-8-sig")
    newline = "\r\n" if "\r\n" in text else "\n"
    header, pairs = _read(seed, text)
    ends = {(left.type, left.value), (right.type, right.value)}
    if ends in pairs:
        return False
    values = {
        "left_type": left.type,
        "left_value": left.value,
        "right_type": right.type,
        "right_value": right.value,
        "cut_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "reason": reason or "",
    }
    row = [values.get(name.strip().lower(), "") for name in header]
    added = [row] if text.strip() else [header, row]
    between = newline if text.strip() and not text.endswith(("\n", "\r")) else ""
    kept = before if text.strip() else b""
    _replace(seed.resolve(), kept + (between + _lines(added, newline)).encode())
    return True


def _read(seed: Path, text: str) -> tuple[list[str], list[set[tuple[str, str]]]]:
    """The columns of the seed, and its pairs."""
    rows: Iterator[list[str]] = (row for row in csv.reader(io.StringIO(text, newline="")) if row)
    header = next(rows, list(COLUMNS))
    names = [name.strip().lower() for name in header]
    if missing := [name for name in COLUMNS if name not in names]:
        raise UsageError(
            f"{seed}: the column '{missing[0]}' is missing. Its first line must be: {','.join(COLUMNS)}"
        )
    pairs = []
    for row in rows:
        cells = dict(zip(names, row, strict=False))
        pairs.append(
            {(cells.get(f"{end}_type", ""), cells.get(f"{end}_value", "")) for end in ("left", "right")}
        )
    return header, pairs


def _lines(rows: Iterable[Iterable[str]], newline: str) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=newline).writerows(rows)
    return written.getvalue()


def _replace(file: Path, content: bytes) -> None:
    """Put a file of this content in its place, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = file.stat().st_mode & 0o777 if file.exists() else _NEW_FILE_MODE
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
        Path(name).chmod(mode)
        os.replace(name, file)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
