"""Queries that the package's macros make, run by dbt, as it runs a model."""

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
"""Characters of the arguments in one environment variable. Systems limit one (Linux to 131,072 bytes, Windows
to 32,767 characters), and a word of the command line likewise."""
_MOST_PARTS = 40


def ask(
    project: DbtProject, options: Options, macro: str, arguments: Mapping[str, Any]
) -> list[dict[str, str | None]]:
    """The rows of the query that a macro of the package makes of arguments (what JSON can say): a mapping a
    row, of column to text. It is for small results. The project's own artifacts are left as they are.

    Raises UsageError where there is no dbt to run or the arguments are more than a process can be given,
    WarehouseError with what dbt says where the query fails.
    """
    text = json.dumps(arguments)
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    if len(parts) > _MOST_PARTS:
        raise UsageError(
            f"{macro}: its arguments are {len(text):,} characters of JSON, and dbt can be given "
            f"{_PART * _MOST_PARTS:,}. Ask for less."
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
