"""Queries that the package's macros make, run by dbt in a process of its own, as it runs a model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from revetl.dbt import DbtProject, Options
from revetl.errors import UsageError, WarehouseError

_TAIL = 12
_MARK = "revetl-rows:"

# The arguments come by stdin, since they may be longer than those of a process may be.
_CHILD = """
import sys
from dbt.cli.main import dbtRunner
done = dbtRunner().invoke(["run-operation", "revetl.print_rows", "--args", sys.stdin.read(), *sys.argv[1:]])
if not done.success:
    results = getattr(done.result, "results", None) or []
    sys.exit(str((results and results[0].message) or done.exception or "It failed."))
"""


def ask(
    project: DbtProject, options: Options, macro: str, arguments: Mapping[str, Any]
) -> list[dict[str, str | None]]:
    """The rows of the query that a macro of the package makes of arguments (what JSON can say): a mapping a
    row, of column to text. It is for small results. The project's own artifacts are left as they are.

    Raises UsageError where dbt is not installed, WarehouseError with what dbt says where the query fails.
    """
    if importlib.util.find_spec("dbt") is None or importlib.util.find_spec("dbt.cli") is None:
        raise UsageError("dbt is not installed here, and it makes and runs this query. Run it where dbt is.")
    with tempfile.TemporaryDirectory(prefix="revetl-query-") as folder:
        folders = ["--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"]
        words = ["--quiet", "--no-use-colors", "--log-level-file", "none", *folders, *options.as_arguments()]
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "ignore", "-c", _CHILD, *words],
            cwd=project.root if options.project_dir is None else None,
            input=json.dumps({"macro": macro, "arguments": arguments}),
            capture_output=True,
            text=True,
            check=False,
        )
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not found:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        raise WarehouseError(f"dbt could not run {macro}:\n" + "\n".join(lines[-_TAIL:]))
    rows: list[dict[str, str | None]] = json.loads(found[-1].removeprefix(_MARK))
    return rows
