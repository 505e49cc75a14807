"""`revetl identity cut`: adds a row to the project's do-not-link seed, creating it if needed."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from revetl.dbt import identity_lists
from revetl.errors import UsageError
from revetl.inspect.identity.find import (
    GraphIdentifier,
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
_SHOWN = 5
_TYPES = """\
version: 2

seeds:
  - name: $name
    description: >-
      Pairs of identifiers that are never the same person. One row per pair; `revetl identity cut` adds one.
    config:
      # dbt would infer numbers, and drop the leading zeros of ids.
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
class CutResult:
    """The result of a split. `seed_name` is the seed's name; `is_unread`: no variable names it yet, so the
    models don't read it."""

    left: str
    right: str
    seed: Path
    is_new: bool
    were_one_profile: bool
    seed_name: str
    is_unread: bool


def cut(workspace: Workspace, left: str, right: str, reason: str | None = None) -> CutResult:
    """Record that two identifiers don't belong to the same person: adds a row to the project's seed, unless
    it exists already. A new seed gets its column types in a file next to it. Identifiers are `type:value`, or
    an unambiguous value. Raises UsageError for an unknown or ambiguous identifier or a canonical id, for
    splitting an identifier from itself, and for a seed without a required column."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        ends = [_identifier(workspace, warehouse, asked) for asked in (left, right)]
    finally:
        warehouse.close()
    one, other = ends
    if one.identifier_id == other.identifier_id:
        raise UsageError(f"{one.named} cannot be split from itself. Name two identifiers.")
    name, is_unread = _seed_name(workspace)
    seed = _seed_file(workspace, name)
    is_first = not seed.exists()
    is_new = _append(seed, one, other, reason)
    if is_first:
        _replace(seed.with_suffix(".yml"), Template(_TYPES).substitute(name=name).encode())
    return CutResult(
        left=one.named,
        right=other.named,
        seed=seed.relative_to(workspace.root),
        is_new=is_new,
        were_one_profile=one.canonical_id == other.canonical_id,
        seed_name=name,
        is_unread=is_unread,
    )


def uncut(workspace: Workspace, left: str, right: str) -> Path:
    """Remove the pair of two identifiers from the project's do-not-link seed, and return the seed's relative
    path. Identifiers are `type:value`, or a value as it is in the seed. Raises UsageError for a pair that
    isn't in the seed, naming those that are, and for one that several rows may mean."""
    name, _ = _seed_name(workspace)
    seed = _seed_file(workspace, name)
    shown = seed.relative_to(workspace.root)
    if not seed.exists():
        raise UsageError(
            f"{shown}: does not exist, so no identifiers are cut apart. There is nothing to undo."
        )
    content = seed.read_bytes()
    text = content.decode("utf-8-sig")
    header, _ = _read(seed, text)
    names = [each.strip().lower() for each in header]
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    pairs = [_ends(dict(zip(names, row, strict=False))) for row in rows[1:]]
    asked = (left, right)
    found = [
        at
        for at, (one, other) in enumerate(pairs)
        if (_is_called(one, left) and _is_called(other, right))
        or (_is_called(one, right) and _is_called(other, left))
    ]
    if not found:
        there = "; ".join(f"{_named(one)} and {_named(other)}" for one, other in pairs[:_SHOWN])
        more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
        listed_pairs = f"It has: {there}{more}." if pairs else "It has no pairs."
        raise UsageError(f"{shown}: has no pair of '{asked[0]}' and '{asked[1]}'. {listed_pairs}")
    if len({frozenset(pairs[at]) for at in found}) > 1:
        raise UsageError(f"{shown}: several pairs match '{asked[0]}' and '{asked[1]}'. Write type:value.")
    newline = "\r\n" if "\r\n" in text else "\n"
    kept = [rows[0], *(row for at, row in enumerate(rows[1:]) if at not in found)]
    mark = "\ufeff" if content.startswith(b"\xef\xbb\xbf") else ""
    _replace(seed.resolve(), (mark + _lines(kept, newline)).encode())
    return shown


def _ends(cells: Mapping[str, str]) -> tuple[tuple[str, str], tuple[str, str]]:
    return tuple((cells.get(f"{end}_type", ""), cells.get(f"{end}_value", "")) for end in ("left", "right"))  # type: ignore[return-value]


def _is_called(identifier: tuple[str, str], asked: str) -> bool:
    return asked in (identifier[1], _named(identifier))


def _named(identifier: tuple[str, str]) -> str:
    return ":".join(identifier)


def _identifier(workspace: Workspace, warehouse: Warehouse, asked: str) -> GraphIdentifier:
    found = identifiers_called(workspace, warehouse, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{asked}' is ambiguous: {listed(found)}. Write type:value.")
    if by_id := identifiers_by_id(workspace, warehouse, asked):
        (own,) = by_id
        raise UsageError(
            f"'{asked}' is a profile id, but splits are between identifiers. Write for example {own.named}; "
            f"`revetl identity show {asked}` lists the profile's identifiers."
        )
    raise UsageError(
        f"No event has the identifier '{asked}'. Write type:value with the value as in the events, "
        "and run `dbt build` if it was loaded since the last build."
    )


def _seed_name(workspace: Workspace) -> tuple[str, bool]:
    """Return the name of the project's do-not-link seed, and whether the models don't read it yet: they read
    the seed named by the variable, else the package's own."""
    if workspace.dbt.name == PACKAGE:
        return f"{PACKAGE}_{SEED}", False
    named = workspace.dbt.variable(SEED, "")
    return named or SEED, not named


def _seed_file(workspace: Workspace, name: str) -> Path:
    """Return the file of the project's seed `name`, in the first seed path if it doesn't exist."""
    folders = [workspace.root / path for path in workspace.dbt.seed_paths]
    found = sorted(file for folder in folders for file in folder.rglob(f"{name}.csv"))
    return found[0] if found else folders[0] / f"{name}.csv"


def _append(seed: Path, left: GraphIdentifier, right: GraphIdentifier, reason: str | None) -> bool:
    """Add a row; returns False without writing if the pair exists, in either order."""
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
    """Return the columns of the seed, and its pairs."""
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
    """Replace a file's content atomically."""
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
