"""Run queries from the package's macros with `dbt run-operation`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Any

from revetl.dbt.program import said
from revetl.dbt.project_files import DbtProject, Options
from revetl.dbt.runner import run
from revetl.errors import UsageError, WarehouseError

_TAIL = 12
_MARK = "revetl-rows:"
_PART = 30_000
"""Characters of the arguments per environment variable. Linux limits a variable to 131,072 bytes, Windows to
32,767 characters; the limits on command-line arguments are similar."""
_MOST_PARTS = 40


def ask(
    project: DbtProject, options: Options, macro: str, arguments: Mapping[str, Any]
) -> list[dict[str, str | None]]:
    """Run the query of a package macro with JSON-serializable arguments. Returns the rows, each a mapping of
    column to text. For small results only. The project's artifacts aren't modified.

    Raises UsageError if dbt isn't found or the arguments are too large, WarehouseError with dbt's output if
    the query fails.
    """
    text = json.dumps(arguments)
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    if len(parts) > _MOST_PARTS:
        raise UsageError(
            f"{macro}: its arguments have {len(text):,} characters of JSON; the limit is "
            f"{_PART * _MOST_PARTS:,}. Reduce the input."
        )
    given = {f"REVETL_ARGUMENTS_{number}": part for number, part in enumerate(parts)}
    with tempfile.TemporaryDirectory(prefix="revetl-query-") as folder:
        folders = ["--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"]
        called = ["--args", json.dumps({"macro": macro, "parts": len(parts)})]
        words = ["run-operation", "revetl.print_rows", *called, "--quiet", *folders]
        done = run(project, options, *words, environment=given)
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not found:
        raise WarehouseError(f"dbt could not run {macro}:\n" + "\n".join(said(done).splitlines()[-_TAIL:]))
    rows: list[dict[str, str | None]] = json.loads(found[-1].removeprefix(_MARK))
    return rows
